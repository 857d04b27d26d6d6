"""Backup: a copy of what cannot be computed again."""
