"""Notes that a consumer leaves in its state, for its next start and for whoever looks."""

RUNNING = "running"
"""Set while the consumer runs: who finds it set and nobody running knows of an unclean stop."""

ROUND = "round"
"""How many files of the present round a verifier has compared with what is served, and how many there are, as JSON."""

DIVERGED = "diverged"
"""The digest of the publication that a follower halted at."""
