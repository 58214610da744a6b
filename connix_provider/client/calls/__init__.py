"""A call as data: its arguments, and the steps that carry it out."""
