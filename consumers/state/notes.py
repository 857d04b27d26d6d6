"""Notes that a consumer leaves in its state, for its next start and for `tuf-ledger info`."""

RUNNING = "running"
"""Set while the consumer runs. If it is set but the consumer does not run, the last stop was unclean."""

ROUND = "round"
"""The verifier's progress in its present round, as JSON: number of compared files, and number of all files."""

DIVERGED = "diverged"
"""The digest of the publication that a follower halted at."""

FOLDS_ONLY = "folds only"
"""Set if the state was made by a follower that does not render: it has no pages and no bins."""
