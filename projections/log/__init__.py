"""What a log says before anything is folded: its Merkle tree, what its records mean, and its prefix."""
