"""Whether servers still answer what is withheld, or old pages."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from consumers.catalog.rows import path_hash
from ledger.catalog import states
from ledger.catalog.database import Connection
from ledger.catalog.states import UploadRow
from ledger.catalog.tables import FREED, WITHHELD
from ledger.disk.files import StorageError
from ledger.storage import ServedFiles
from projections.metadata.paths import companion_path, hashed_path, package_target, plain_path


class CacheAnswers(NamedTuple):
    """What servers answered: the URLs that answer and should not, or that answer something old; and for each server
    that cannot be asked, why.
    """

    answering: Sequence[str] = ()
    unasked: Sequence[str] = ()


def withheld_paths(connection: Connection, indices: Iterable[int]) -> list[str]:
    """The served paths of the bytes that some events uploaded and that are withheld now, sorted (docs/rules.md, "What
    is withheld").
    """
    return sorted({path for each in states.uploads_at(connection, indices) for path in _withheld(connection, each)})


def _withheld(connection: Connection, upload: UploadRow) -> Iterator[str]:
    target = package_target(upload.blake2b_256.hex(), upload.filename)
    holders = [
        each
        for each in states.uploads_hashed(connection, path_hash(target))
        if (each.blake2b_256, each.filename) == (upload.blake2b_256, upload.filename)
    ]
    known = states.states_of_files(connection, [each.id for each in holders])
    listed = [each.sha256 for each in holders if known[each.id][-1].state not in {WITHHELD, FREED}]
    if upload.sha256 not in listed:
        yield hashed_path(target, upload.sha256.hex())
    if not listed:
        yield plain_path(target)
        yield companion_path(target, "metadata")
        yield companion_path(target, "provenance")


def ask_caches(
    caches: Mapping[str, ServedFiles], withheld: Sequence[str], pages: Mapping[str, str | None]
) -> CacheAnswers:
    """Ask servers for what should not be there, and for pages.

    A server that cannot be asked for one file is not asked for more.

    Args:
        caches: the servers, by URL.
        withheld: the paths that must not be answered.
        pages: the SHA-256 of pages by their paths; None: there must be none.
    """
    answering: list[str] = []
    unasked = []
    for url, files in caches.items():
        try:
            answering += (f"{url}/{path}" for path in withheld if files.digest(path) is not None)
            answering += (f"{url}/{path}" for path, digest in pages.items() if files.digest(path) != digest)
        except StorageError as error:
            unasked.append(f"{error}")
    return CacheAnswers(answering, unasked)
