"""Producing events: made, checked, appended, and asked about."""
