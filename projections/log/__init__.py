"""The content of a log before anything is folded: its Merkle tree, the meaning of its records, and its prefix."""
