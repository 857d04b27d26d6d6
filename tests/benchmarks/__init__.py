"""The benchmarks run; how long they take is nobody's business here."""
