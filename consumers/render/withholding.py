"""Withholding: bytes leave what is served, for a folder of evidence, and come back (docs/rules.md, "What is withheld").

What comes back under a name with a SHA-256, and what stands beside a file, is there before the timestamp that lists it.
Everything else waits until that timestamp is served: until then, clients are told that the bytes are there. Plain names
are last, since they show one of the names with a SHA-256.

Each move can be made again. So whoever is killed half-way, comes later, or is second does nothing wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.storage import Storage
from projections.metadata.holders import Withholding
from projections.metadata.paths import TargetPlace, hashed_path, is_reserved, plain_path, read_path

T = TypeVar("T")

log = structlog.get_logger()

Changes = Mapping[str, Withholding]
"""The last change of each served path."""


def bring_back(storage: Storage, changes: Changes) -> None:
    """Put back what the coming timestamp lists. What cannot be moved is logged: the timestamp does not wait for it."""
    for each in _sorted(changes.values(), is_withheld=False):
        if _target_of_plain(each) is None and not _move_back(storage, each) and each.sha256:
            log.error("bytes that are no longer withheld are not here: store them again", path=each.path)


def withhold(storage: Storage, changes: Changes) -> None:
    """Take out what the served timestamp no longer lists, and put back plain names. What cannot be moved is logged: a
    verifier goes on naming it.
    """
    taken = {each.path for each in changes.values() if each.is_withheld}
    for each in _sorted(changes.values(), is_withheld=True):
        _take(storage, each.path)
        place = read_path(each.path)
        if isinstance(place, TargetPlace) and place.sha256 is not None and is_reserved(place.target):
            # Another project's file may have the plain name, while these bytes are there.
            plain = plain_path(place.target)
            if plain not in taken and storage.digest(plain) == place.sha256:
                _take(storage, plain)
    for each in _sorted(changes.values(), is_withheld=False):
        target = _target_of_plain(each)
        if target is not None and not _move_back(storage, each):
            shown = hashed_path(target, each.sha256)
            if storage.digest(shown) == each.sha256:
                storage.show({each.path: shown})


def evidence_in(storage: Storage) -> list[str]:
    """The paths that the files in the evidence were served at; none if it cannot be read."""
    return _unless_refused(storage.evidence.paths, "") or []


def _sorted(changes: Iterable[Withholding], *, is_withheld: bool) -> list[Withholding]:
    return sorted(each for each in changes if each.is_withheld == is_withheld)


def _target_of_plain(each: Withholding) -> str | None:
    """The target whose plain name it is, or None."""
    place = read_path(each.path)
    return place.target if isinstance(place, TargetPlace) and place.sha256 is None and each.sha256 else None


def _move_back(storage: Storage, each: Withholding) -> bool:
    return _unless_refused(lambda: storage.evidence.give_back(each.path, each.sha256), each.path) is not False


def _take(storage: Storage, path: str) -> None:
    _unless_refused(lambda: storage.evidence.take(path), path)


def _unless_refused(move: Callable[[], T], path: str) -> T | None:
    """Move a file; None if it cannot be moved by this user. Raises StorageUnavailableError if it can be later."""
    try:
        return move()
    except StorageUnavailableError:
        raise
    except StorageError as error:
        why = str(error)
    log.error("withheld bytes cannot be moved: give the publisher the right to do so", path=path, why=why)
    return None
