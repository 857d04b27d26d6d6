"""Ceremonies: offline roles are drafted, signed and put on the log."""
