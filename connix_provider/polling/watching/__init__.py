"""The polls that the waits of one event loop share."""
