"""Roles: the last version of each bin with the mark of its kept file, and all offline documents."""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State, Table


class RoleRow(NamedTuple):
    """The last version of a bin, and the mark of its kept file (empty: there is none)."""

    name: str
    version: int
    expires: str
    length: int
    sha256: str
    mark: bytes


class DocumentRow(NamedTuple):
    """An offline document, and the index of the event that has it."""

    record: int
    role: str
    version: int
    file: bytes


_ROLES = Table("roles", RoleRow._fields, RoleRow)
_CEREMONIES = Table("ceremonies", ("idx", *DocumentRow._fields[1:]), DocumentRow, is_checked=False)


def kept_name(role: str, version: int) -> str:
    """The name of the kept file of a version of a role."""
    return f"{version}.{role}.json"


def load_roles(state: State) -> list[RoleRow]:
    """All bins ever signed."""
    return state.select(_ROLES, "ORDER BY name")


def load_marks(state: State, names: Sequence[str]) -> dict[str, bytes]:
    """The marks of the kept files of bins, by role name."""
    return {row.name: row.mark for row in state.among(_ROLES, names)}


def save_roles(state: State, rows: Sequence[RoleRow]) -> None:
    """Put versions of bins."""
    state.put(_ROLES, rows)


def load_ceremonies(state: State) -> list[DocumentRow]:
    """All offline documents in the order of the log."""
    return state.select(_CEREMONIES, "ORDER BY idx, role")


def save_ceremonies(state: State, rows: Sequence[DocumentRow]) -> None:
    """Add offline documents."""
    state.put(_CEREMONIES, rows)
