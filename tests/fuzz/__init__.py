"""Hostile parties with parts of the keys: whoever appends to `events`, to `publications`, or stole an online key.

Runs are driven by seeds or by hypothesis. The default is small; `TUF_LEDGER_FUZZ=50` runs fifty times as many of each.
"""
