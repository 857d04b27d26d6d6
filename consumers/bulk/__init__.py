"""Work that is too much for one processor, or for memory: done in processes, spilled to disk."""
