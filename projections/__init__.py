"""Pure functions of records: what the log means.

This package contains no I/O, no clock, no randomness, no logging and no asyncio, and the order of its results depends
on no set, locale or file system. The same records give the same bytes, on any machine, for ever: that is what makes the
ledger rebuildable. Every rule here belongs to a *ruleset* (docs/rules.md); a change of a rule is a new ruleset.
"""
