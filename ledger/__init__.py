"""The outside world: logs, state, storage of files, signers, the clock, distribution files, configuration.

Modules here do I/O and know nothing of what records mean. `consumers` joins them with `projections`.
"""
