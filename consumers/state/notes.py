"""Notes that a consumer leaves in its state, for its next start and for `tuf-ledger info`."""

RUNNING = "running"
"""Set while the consumer runs. If it is set but the consumer does not run, the last stop was unclean."""

ROUND = "round"
"""The verifier's progress in its present round, as JSON: number of compared files, and number of all files."""

COMPARISON = "comparison"
"""Of a verification, as JSON: the publication that served files are compared with, and whether they were."""

DIVERGED = "diverged"
"""The digest of the publication that a follower halted at."""

VERIFICATION = "verification"
"""The options of a verification that can go on after an interruption, as JSON."""

FOLDS_ONLY = "folds only"
"""Set if the state was made by a follower that does not render: it has no pages and no bins."""
