"""Operators that act on Connix agents."""
