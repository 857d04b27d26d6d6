"""Domain-independent work: threads, processes, and data that does not fit into memory."""
