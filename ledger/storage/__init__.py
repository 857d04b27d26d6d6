"""Storage of what is served."""
