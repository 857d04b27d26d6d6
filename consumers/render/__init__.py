"""Rendering: from a publication's events to its files, in two rounds, on one core or on all."""
