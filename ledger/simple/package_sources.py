"""The port: an index that somebody else runs, to be read.

Adapters are `ledger.simple.http_source` (an index on the web), `ledger.simple.mirror_source` (its pages and files in a
folder) and `ledger.simple.files_source` (a folder of files, without pages).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from packaging.utils import canonicalize_name

from ledger.simple.source_pages import SourceFile, SourcePage, SourcePageError
from schemas.errors import LedgerError
from schemas.fields import PROJECT_PATTERN

Beside = Literal["metadata", "provenance"]
"""What can be beside a file: its core metadata (PEP 658), or its provenance (PEP 740)."""

_NAME = re.compile(PROJECT_PATTERN)
_MAX_PROJECT_CHARACTERS = 200

MAX_LIST_BYTES = 512 * 2**20
MAX_PAGE_BYTES = 256 * 2**20
"""Longest page that is read: ten times the longest one that is known, of 46,724 files."""
MAX_BESIDE_BYTES = 32 * 2**20
MAX_FILE_BYTES = 2**36


class PackageSourceError(LedgerError):
    """A source is none, or answers what cannot be used."""


def is_name(project: str) -> bool:
    """Whether a text can be the normalised name of a project: of no other text is a page asked for."""
    return len(project) <= _MAX_PROJECT_CHARACTERS and _NAME.match(project) is not None


def normalised(names: Sequence[str]) -> list[str]:
    """Names of projects in their one form (PEP 503), sorted, each once."""
    return sorted({canonicalize_name(name) for name in names})


def of_project(page: SourcePage, project: str, where: str) -> SourcePage:
    """The page, if it is the one of a project, given by its normalised name.

    Raises:
        SourcePageError: it says that it is another's.
    """
    if canonicalize_name(page.name) != project:
        raise SourcePageError(f"{where} is no page of {project}: it says that it is of {page.name[:100]}")
    return page


class PackageSource(Protocol):
    """An index to be read. Several coroutines may call it.

    Raises:
        StorageUnavailableError: it does not answer, or not now.
        StorageError, PackageSourceError, SourcePageError: it cannot be read, or its answer cannot be used.
    """

    name: str
    """What the source is called, without a password."""

    async def projects(self) -> list[str]:
        """The normalised names of all projects (PEP 503), sorted, each once."""

    async def page(self, project: str) -> SourcePage | None:
        """The page of a project; None if there is none."""

    async def length(self, file: SourceFile) -> int | None:
        """The length of a file in bytes, as the source says it; None if it does not, or has no such file."""

    async def beside(self, file: SourceFile, what: Beside) -> bytes | None:
        """What is beside a file; None if there is none."""

    async def download(self, file: SourceFile, to: Path) -> bool:
        """Write the bytes of a file; whether there is such a file. They are not checked."""

    async def close(self) -> None:
        """End all connections."""
