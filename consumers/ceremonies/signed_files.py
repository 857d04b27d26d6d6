"""A ceremony that was held elsewhere: its documents come as files, and are judged before anything is appended."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ledger.disk.files import storage_error
from projections.log.prefix import Prefix
from projections.outcomes import Outcome
from projections.roles.authority import judge_ceremony
from projections.roles.documents import TUF_TYPES
from schemas.errors import NegativeAnswerError
from schemas.events import MAX_EVENT_BYTES

_NAME = re.compile(r"(?:.*\.)?(root|targets|bins)\.json")


def read_signed(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The documents of one ceremony by role: metadata files, named as they are served (`2.root.json`).

    Raises:
        NegativeAnswerError: a file is no metadata of the role that its name says, or two are of one role.
        StorageError: a file cannot be read.
    """
    documents: dict[str, dict[str, Any]] = {}
    for path in paths:
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise NegativeAnswerError(
                f"{path}: name the file after its role, as it is served: N.root.json, N.targets.json or N.bins.json"
            )
        role = named[1]
        if role in documents:
            raise NegativeAnswerError(
                f"{path} is a second file of {role}: one ceremony signs one. Append one ceremony after the other"
            )
        documents[role] = _read(path, role)
    return documents


def judge_signed(end: Prefix, documents: Mapping[str, dict[str, Any]]) -> Outcome:
    """What the rules say of a ceremony with these documents, if its event is the next record.

    Raises:
        UpgradeNeededError: its root names a ruleset that is not known here.
    """
    root_sha256 = end.ledger.root_sha256 if end.ledger else ""
    return judge_ceremony(end.authority, root_sha256, documents, end.size + 1).outcome


def _read(path: Path, role: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_EVENT_BYTES + 1)
    except OSError as error:
        raise storage_error(path, "read", error) from error
    if len(content) > MAX_EVENT_BYTES:
        raise NegativeAnswerError(f"{path} is longer than {MAX_EVENT_BYTES:,} bytes")
    try:
        value = orjson.loads(content)
        kind = value["signed"]["_type"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise NegativeAnswerError(f"{path} is no TUF metadata") from error
    if kind != TUF_TYPES[role]:
        raise NegativeAnswerError(f"{path} is not metadata of {role}: its _type is {str(kind)[:100]!r}")
    found: dict[str, Any] = value
    return found
