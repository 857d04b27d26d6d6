"""The command line: its promises, and what it makes of bad input and a bad environment."""
