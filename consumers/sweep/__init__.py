"""Sweeping: versions that no client needs any more are deleted."""
