"""The holders of a target's path, and what is withheld of its bytes (docs/rules.md, "What is withheld").

A path can have several holders: projects with a file of that path; of any other target, its bytes now and those that
were withheld before. Holders are stored for paths that have others than one of rank 0 that lists the path; nearly all
paths have no others.
"""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

import msgspec

from projections.metadata.paths import companion_path, hashed_path, is_reserved, plain_path
from projections.metadata.targets import Standing, TargetChange, entry_digest, target_entry


class Holder(NamedTuple):
    """One holder of a path: its rank, its standing, the SHA-256 that it claims, and if it lists the path its entry."""

    rank: int
    standing: Standing
    digest: bytes
    entry: bytes


class Withholding(NamedTuple):
    """Whether the file at a served path is withheld, and if it is not, which SHA-256 it must have (empty: any)."""

    path: str
    is_withheld: bool
    sha256: str = ""


_decode = msgspec.msgpack.Decoder(dict[str, list[Holder]]).decode
_encode = msgspec.msgpack.Encoder().encode


def read_holders(header: bytes) -> dict[str, list[Holder]]:
    """The stored holders, in order, by path."""
    return _decode(header) if header else {}


def write_holders(held: dict[str, list[Holder]]) -> bytes:
    """The inverse of `read_holders`."""
    return _encode(dict(sorted(held.items()))) if held else b""


def holder_of(entry: bytes, standing: Standing = "lists", rank: int = 0) -> Holder:
    """The holder that an entry belongs to."""
    return Holder(rank, standing, entry_digest(entry), entry if standing == "lists" else b"")


def are_stored(holders: Sequence[Holder]) -> bool:
    """Whether holders are stored: an entry alone does not say them."""
    return any(holder.rank or holder.standing != "lists" for holder in holders) or len(holders) > 1


def entry_of(holders: Sequence[Holder]) -> bytes | None:
    """The entry of a path: that of the first holder that lists it."""
    return next((holder.entry for holder in holders if holder.standing == "lists"), None)


def changed(holders: Sequence[Holder], change: TargetChange) -> list[Holder]:
    """The holders after a change, in order."""
    if change.entry is None:  # set
        return [holder for holder in holders if holder.standing != "lists"]
    now = holder_of(change.entry, "lists" if change.act == "set" else change.now, change.rank)
    if change.act == "set":
        left = [holder for holder in holders if holder.standing != "lists" and holder.digest != now.digest]
        return sorted([*left, now])
    if change.act in {"withhold", "lift"}:
        left = [holder for holder in holders if holder.standing == "lists" or holder.digest != now.digest]
        return sorted([*left, now._replace(standing="withholds")] if change.act == "withhold" else left)
    left = list(holders)
    if change.was:
        left.remove(holder_of(change.entry, change.was, change.rank))
    return sorted([*left, now] if change.now else left)


def moves(path: str, holders: Iterable[Holder]) -> list[TargetChange]:
    """The changes that make these the holders of a path in another bin."""
    return [
        TargetChange(
            path,
            holder.entry or target_entry(path, 0, holder.digest.hex()),  # the length of what is not listed is not kept
            "move",
            holder.rank,
            now=holder.standing,
        )
        for holder in holders
    ]


def moved(changes: Iterable[TargetChange], paths: Container[str]) -> dict[str, list[Holder]]:
    """The holders, in order, that came from other bins, of some paths: what was withheld there is still so here."""
    came: dict[str, list[Holder]] = {}
    for change in changes:
        if change.act == "move" and change.entry is not None and change.path in paths:
            came.setdefault(change.path, []).append(holder_of(change.entry, change.now, change.rank))
    return {path: sorted(holders) for path, holders in came.items()}


def withholdings(path: str, before: Sequence[Holder], after: Sequence[Holder]) -> list[Withholding]:
    """What a change of a path's holders changes about what is withheld."""
    if not any(holder.standing == "withholds" for holder in (*before, *after)):
        return []  # nearly always
    was, now = served_names(path, before), served_names(path, after)
    gone = [each._replace(is_withheld=False) for name, each in was.items() if name not in now]
    return gone + [each for name, each in now.items() if was.get(name) != each]


def served_names(path: str, holders: Sequence[Holder]) -> dict[str, Withholding]:
    """The names under which a path's bytes are served, and whether they are withheld.

    A name with a SHA-256 is withheld if all holders with that SHA-256 withhold; the plain name and what stands beside
    it if all holders do. Otherwise the plain name has the bytes that the bin shows, or else those of the first holder.
    """
    free = [holder for holder in holders if holder.standing != "withholds"]
    digests = {holder.digest for holder in free}
    found = [
        Withholding(hashed_path(path, digest.hex()), digest not in digests, digest.hex())
        for digest in sorted({holder.digest for holder in holders})
    ]
    if holders and is_reserved(path):
        shown = [holder for holder in free if holder.standing == "lists"] or free
        found.append(Withholding(plain_path(path), not free, shown[0].digest.hex() if shown else ""))
        found.append(Withholding(companion_path(path, "metadata"), not free))
        found.append(Withholding(companion_path(path, "provenance"), not free))
    return {each.path: each for each in found}
