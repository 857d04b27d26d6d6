"""Notes that a consumer leaves in its state, for its next start and for whoever looks."""

RUNNING = "running"
"""Set while the consumer runs: who finds it set and nobody running knows of an unclean stop."""

DIFFERENCES = "differences"
"""How many differences a verifier has found in what is served."""

DIVERGED = "diverged"
"""The digest of the publication that a follower halted at."""
