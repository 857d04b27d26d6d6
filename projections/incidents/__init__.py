"""Incidents, purely: frozen lists of events, histories without them, and the steps that lead to the clean state."""
