"""Making proofs about the log, which others check offline."""
