"""Producing events: making, checking and appending them, and asking for their verdicts."""
