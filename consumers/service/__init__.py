"""Consumers as processes: opened, supervised, and stopped cleanly."""
