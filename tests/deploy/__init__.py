"""The files under `deploy`, tried with the programs that they are for."""
