"""Whether servers still answer what is withheld, or old pages."""

from collections.abc import Iterable, Mapping, Sequence

from ledger.catalog import states
from ledger.catalog.database import Connection
from ledger.catalog.tables import FREED, WITHHELD
from ledger.storage import ServedFiles
from projections.metadata.paths import companion_path, hashed_path, package_target, plain_path


def withheld_paths(connection: Connection, suspects: Iterable[int]) -> list[str]:
    """The served paths of the bytes that suspects uploaded and that are withheld now, sorted."""
    uploads = states.uploads_at(connection, suspects)
    known = states.states_of_files(connection, [each.id for each in uploads])
    found: set[str] = set()
    for each in uploads:
        if known[each.id][-1].state in {WITHHELD, FREED}:
            target = package_target(each.blake2b_256.hex(), each.filename)
            found |= {plain_path(target), hashed_path(target, each.sha256.hex())}
            found |= {companion_path(target, "metadata"), companion_path(target, "provenance")}
    return sorted(found)


def still_answering(
    caches: Mapping[str, ServedFiles], withheld: Sequence[str], pages: Mapping[str, str | None]
) -> list[str]:
    """The URLs that answer and should not, or that answer something old.

    Args:
        caches: the servers, by URL.
        withheld: the paths that must not be answered.
        pages: the SHA-256 of pages by their paths; None: there must be none.

    Raises:
        StorageError: a server cannot be asked.
    """
    found = []
    for url, files in caches.items():
        found += [f"{url}/{path}" for path in withheld if files.digest(path) is not None]
        found += [f"{url}/{path}" for path, digest in pages.items() if files.digest(path) != digest]
    return found
