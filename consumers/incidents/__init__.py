"""Incidents: what was compromised, whom it reached, what the clean state is, and how to get there."""
