"""Pure functions of records: the meaning of the logs.

This package contains no I/O, no clock, no randomness, no logging and no asyncio. The order of its results depends on no
set, locale or file system. The same records give the same bytes, on any machine, for ever: therefore a ledger can be
rebuilt. Every rule here belongs to a *ruleset* (docs/rules.md); a change of a rule is a new ruleset.
"""
