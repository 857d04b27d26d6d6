"""Work without a domain: threads, processes, and what does not fit into memory."""
