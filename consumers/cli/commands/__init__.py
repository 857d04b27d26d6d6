"""The commands of `tuf-ledger`, one module each."""
