"""What the archives of distribution files have in common: limits, safe names, and refusals.

    RefusalError   why a file is refused, in words that do not name the file

Archives come from strangers. Reading one never takes more memory or work than the limits below, whatever the archive
claims about itself. Every error of the standard library becomes a `RefusalError`. Nothing is unpacked. An archive that
two installers would read differently is refused: one digest must not stand for two contents.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

BLOCK_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 8 * 1024 * 1024
"""Longest METADATA, WHEEL or PKG-INFO in bytes."""
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Longest RECORD of a wheel in bytes, for some 300,000 members."""
MAX_DIRECTORY_BYTES = 32 * 1024 * 1024
"""Longest central directory of a zip in bytes, some 300,000 members: `zipfile` reads it in one piece."""
MAX_HEADER_BYTES = 64 * 1024
"""Longest header of a tar member in bytes, with its path and attributes: `tarfile` reads it in one piece."""
MAX_GLOBAL_HEADERS = 64
MAX_MEMBERS = 500_000
FREE_BYTES = 64 * 1024 * 1024
MAX_RATIO = 50
"""An archive may grow to `FREE_BYTES`, beyond that to this many times its own length: PyPI's limits for zips."""

_CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")  # a lone surrogate: the name is not UTF-8
_DRIVE = re.compile("[A-Za-z]:")


class RefusalError(Exception):
    """Why a file is refused and what to do, in words that do not name the file."""


def printable(text: str, limit: int = 200) -> str:
    """Prepare text from a filename or a file for a message: shorten it, and escape it if it is not printable."""
    text = text if len(text) <= limit else text[:limit] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


@contextmanager
def damage_refused() -> Iterator[None]:
    """Turn every error of the standard library into a refusal."""
    try:
        yield
    except RefusalError:
        raise
    # zipfile and tarfile do not document what they raise on damaged input; it is a dozen unrelated types.
    except Exception as error:
        why = printable(str(error)) or type(error).__name__
        raise RefusalError(f"is damaged or not what its name says ({why}). Get or build it again.") from error


class Budget:
    """The number of bytes that an archive may still unpack to."""

    def __init__(self, length: int) -> None:
        self._left = max(FREE_BYTES, MAX_RATIO * length)

    def spend(self, count: int) -> None:
        """Take this many bytes from it."""
        self._left -= count
        if self._left < 0:
            raise RefusalError(
                f"unpacks to over {FREE_BYTES // 1024**2} MiB and over {MAX_RATIO} times its length. Only archives "
                "made to exhaust a disk do so. Do not publish it."
            )


def check_metadata_length(length: int) -> None:
    """Refuse metadata beyond its limit."""
    if length > MAX_METADATA_BYTES:
        raise RefusalError(
            f"has metadata of {length} bytes, but the limit is {MAX_METADATA_BYTES}. Shorten its description."
        )


def read_differently(name: str, why: str) -> RefusalError:
    """The refusal of an archive because of one member."""
    return RefusalError(
        f"has a member, '{printable(name)}', that installers would read differently: {why}. "
        "Build it again with a current build tool."
    )


class Names:
    """The names of an archive's members so far: each stays inside, stands once, and has no file above it.

    Of each name only a digest is kept: an archive may have hundreds of thousands of long ones.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._folders: set[bytes] = set()
        self._links: set[bytes] = set()

    def add(self, name: str, *, is_folder: bool, is_link: bool = False) -> None:
        """Add a member; the name of a folder has no slash at its end. `is_link`: it is a symbolic link.

        Raises:
            RefusalError: the name is not safe, or is there already, or contradicts another one.
        """
        _check_name(name)
        if len(self._seen) >= MAX_MEMBERS:
            raise RefusalError(f"has over {MAX_MEMBERS} members. Put fewer files in it.")
        key = _key(name)
        is_known_folder = key in self._folders
        if key in self._seen and is_known_folder == is_folder:
            raise read_differently(name, "it is there twice")
        if key in self._seen or (is_known_folder and not is_folder):
            raise read_differently(name, "it is a file and a folder")
        self._seen.add(key)
        if is_folder:
            self._folders.add(key)
        if is_link:
            self._links.add(key)
        self._add_parents(name)

    def has_file(self, name: str) -> bool:
        """Whether this name was added, and neither as a folder nor as a symbolic link."""
        key = _key(name)
        return key in self._seen and key not in self._folders and key not in self._links

    def _add_parents(self, name: str) -> None:
        while "/" in name:
            name = name.rpartition("/")[0]
            key = _key(name)
            if key in self._folders:
                return  # with all above it
            if key in self._seen:
                raise read_differently(name, "other members are below it, but it is no folder")
            self._folders.add(key)


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _check_name(name: str) -> None:
    if _CONTROL.search(name):
        raise read_differently(name, "its name has control characters or is not UTF-8")
    if name.startswith("/") or "\\" in name or _DRIVE.match(name):
        raise read_differently(name, "its name is no relative path with '/'")
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise read_differently(name, "its path has '..', '.' or an empty part")
