"""From a publication's events to its files: two rounds, on one core or on all."""
