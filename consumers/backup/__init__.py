"""Backup: a copy of everything that cannot be computed again."""
