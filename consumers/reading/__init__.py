"""Reading both logs: events from a position on; publications one by one or in runs."""
