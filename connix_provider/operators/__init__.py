"""Operators for Connix agents."""
