"""Sensors that wait on Connix agents."""
