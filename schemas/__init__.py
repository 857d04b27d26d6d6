"""What is on the log: the types of events and publications, their codec and their JSON Schemas.

This package contains no I/O and no rule that depends on any state: it says what a record *is*,
`projections` says what it *does* (docs/rules.md).
"""
