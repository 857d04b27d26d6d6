"""Sweeping: deleting old versions that no client can reach."""
