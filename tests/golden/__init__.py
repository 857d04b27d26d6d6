"""A fixed log, and the digest of every file it makes. See `make`."""
