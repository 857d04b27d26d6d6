"""Reading both logs: events from a position on, and publications one by one or in runs."""
