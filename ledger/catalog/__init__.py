"""The catalog: a read model of both logs in SQL, for people who ask what happened (docs/catalog.md).

Its tables are its state: rows and position change in one transaction. It holds nothing that the logs do not say, so it
has a format number and no migrations: a catalog of another format is made anew.
"""

from schemas.errors import LedgerError

FORMAT = 3
"""Raised when tables, or the meaning of their rows, change."""

FILE = "catalog.sqlite"
"""The file of a catalog in a folder of states."""

FOREVER = 2**63 - 1
"""The end of an interval that has not ended: no log gets so long."""

SYNCHRONOUS = "NORMAL"
"""How SQLite syncs a catalog: what a power cut takes with it is filled in again."""


class CatalogError(LedgerError):
    """A catalog cannot be used; the message says what to do."""
