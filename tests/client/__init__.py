"""Scenarios: the whole ledger on real folders, and python-tuf's client after every step."""
