"""A follower's state on disk: one SQLite file, and the files that it keeps beside it."""
