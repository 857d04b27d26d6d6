"""Importing another index, and keeping in step with it: what its pages say becomes the events that reproduce it.

ledger_side      what the ledger has of a project, to the end of its log, and what it would make of new events
file_versions    the version that a filename means
drafting         the events that a page asks for, before their last facts are known: pure
judging          which of these the rules accept, and which need `legacy`
gathering        the facts that a page does not say, and the bytes
import_run       all projects, a few at a time
reconciling      what another index shows otherwise, with the records that explain it
"""
