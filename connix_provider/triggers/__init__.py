"""Triggers that wait on Connix agents."""
