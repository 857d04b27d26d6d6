"""The outside world: logs, state, storage of files, signers, the clock, distribution files, configuration.

Modules here do I/O and do not know the meaning of records. `consumers` joins them with `projections`.
"""
