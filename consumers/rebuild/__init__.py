"""Rebuilding the repository as of any publication, from the logs alone."""
