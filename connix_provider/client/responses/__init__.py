"""Read a response: its result, or the exception that it means."""
