"""Producers: who may append events over HTTP, by tokens of which only hashes are kept.

The file of producers has a JSON object a line, one for each token: a `Producer`. It is read again when it has changed,
so a line that is deleted is a token that is revoked.
"""

import asyncio
import hmac
import os
import secrets
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from ledger.config import ConfigError
from ledger.disk.files import StorageError
from ledger.disk.reading import open_file
from schemas.codec import AUTHORITY_TYPES, EVENT_TYPES
from schemas.errors import TemporaryError
from schemas.events import BaseEvent, ProjectEvent
from schemas.fields import Identifier, Sha256, Uri

PREFIX: Final = "tlp_"
"""How tokens begin: programs that look for leaked secrets know them by it."""
MOST_BYTES: Final = 2**20

NEVER: Final = frozenset({"ledger.created.v1", "roles.signed.v1"})
"""Types that nobody appends over HTTP: the first record, and ceremonies, whose bytes nobody may know beforehand."""

Pattern = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9._*-]+\Z", max_length=200)]


@cache
def types_of(pattern: str) -> frozenset[str]:
    """The types of events that a pattern of a token means. With a `*`, it does not mean those of holds: whoever may
    stop the index is named as such.
    """
    types = EVENT_TYPES.keys() - NEVER - (AUTHORITY_TYPES if "*" in pattern else frozenset())
    return frozenset(each for each in types if fnmatchcase(each, pattern))


class Producer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose token it is, and what may be appended with it. `*` in a pattern stands for any text.

    `types_of` says what `types` mean. `projects` are normalised names. An event about no project needs the pattern `*`.
    With a `source`, all events have it: then the log says which of them came by this token.
    """

    producer: Identifier
    sha256: Sha256
    types: tuple[Pattern, ...]
    projects: tuple[Pattern, ...]
    source: Uri | None = None

    def refusal(self, event: BaseEvent) -> str:
        """Why this producer may not append an event; empty: it may."""
        kind = str(event.__struct_config__.tag)
        if kind in NEVER:
            return f"{kind} is not appended over HTTP: use `tuf-ledger ceremony`"
        if not any(kind in types_of(each) for each in self.types):
            return f"{self.producer} may not append {kind}"
        if self.source is not None and event.source != self.source:
            return f"events of {self.producer} must have the source {self.source}"
        project = event.subject if isinstance(event, ProjectEvent) else None
        if "*" not in self.projects and not (project and any(fnmatchcase(project, each) for each in self.projects)):
            return f"{self.producer} may not append events about {project or 'anything but its projects'}"
        return ""


_decoder = msgspec.json.Decoder(Producer)


class Producers:
    """The producers in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._known: list[Producer] = []

    async def check(self) -> None:
        """Read the file, so that a mistake in it is found at the start.

        Raises:
            ConfigError: it cannot be read, or has a line that is none.
        """
        await asyncio.to_thread(self._refresh)

    async def find(self, token: str) -> Producer | None:
        """Whose token it is; None: nobody's.

        Raises:
            ConfigError: as `check`.
        """
        await self.check()
        digest = sha256(token.encode()).hexdigest()
        # All of them, each in constant time: how long it takes says nothing about any hash.
        found = [each for each in self._known if hmac.compare_digest(each.sha256, digest)]
        return found[0] if found else None

    def _refresh(self) -> None:
        try:
            facts = os.stat(self._path)  # noqa: PTH116  # its time to the nanosecond
            stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if stamp != self._stamp:
                self._known = read_producers(self._path)
                self._stamp = stamp
        except OSError as error:
            raise ConfigError(f"[gateway] producers: {self._path} cannot be read: {error.strerror}") from error
        except StorageError as error:
            if isinstance(error, TemporaryError):
                raise
            raise ConfigError(f"[gateway] producers: {error}") from error


def read_producers(path: Path) -> list[Producer]:
    """Read a file of producers.

    Raises:
        ConfigError: a line is no producer.
        StorageError: it cannot be read.
    """
    with open_file(path) as file:
        if file is None:
            raise ConfigError(f"[gateway] producers: {path} cannot be read: it is no file")
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ConfigError(f"[gateway] producers: {path} is longer than {MOST_BYTES:,} bytes")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                found.append(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"[gateway] producers: line {number} of {path}: {error}. `tuf-ledger token new` makes such lines"
            ) from error
    return found


def new_token(
    producer: str, types: Sequence[str], projects: Sequence[str], source: str | None = None
) -> tuple[str, str]:
    """A token that nobody can guess, and its line for the file, which does not have the token."""
    token = f"{PREFIX}{secrets.token_urlsafe(32)}"
    line: dict[str, Any] = {
        "producer": producer,
        "sha256": sha256(token.encode()).hexdigest(),
        "types": list(types),
        "projects": list(projects),
    }
    if source is not None:
        line["source"] = source
    return token, msgspec.json.encode(line).decode()
