"""A ledger of an earlier commit, and what today's code does with it."""
