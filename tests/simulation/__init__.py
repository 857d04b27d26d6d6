"""Deterministic simulation: every crash point of signers and publishers, and what must hold afterwards."""
