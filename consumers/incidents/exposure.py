"""Whom something reached: the publications that offered it, until when it could be shown, and what carried it.

Times are those of publications: a server may have lagged behind them. Where a publication's own time and its effective
time differ (the least of its time and of all later ones), both are told.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from consumers.catalog.asking import Asked
from consumers.catalog.finding import read_digest
from consumers.catalog.placing import Offering, Places
from consumers.catalog.remaking import SNAPSHOT, TIMESTAMP, Remaking
from consumers.catalog.rows import path_hash
from consumers.catalog.standing import STATES, FileStanding, Interval, merged, path_of, standings
from consumers.incidents.losing import KeyBound, bound_of_key
from ledger.catalog import FOREVER, publication_rows, states, writing
from ledger.catalog.database import Connection
from ledger.catalog.publication_rows import Era
from ledger.catalog.states import ArtifactState, UploadRow
from ledger.catalog.tables import THERE
from ledger.catalog.writing import PublicationRow
from projections.index.names import normalise, release_key
from projections.metadata.paths import is_page, target_of
from projections.metadata.repository import expires_at
from projections.roles.authority import Authority
from projections.roles.keys import RoleKeys
from schemas.errors import NegativeAnswerError

PAGE = 100
"""Number of targets that are looked at in one transaction."""

MOST_VERSIONS = 100
"""Versions of a role that are listed one by one."""

FILE_UPLOADED = "file.uploaded.v1"

Reach = Literal["offered", "ended", "never", "pending", "held"]


class Moment(msgspec.Struct, frozen=True):
    """A publication: its number, the time of its claim, and its effective time."""

    publication: int
    time: str
    effective_time: str


class SignedVersions(msgspec.Struct, frozen=True):
    """Versions of a role that carried something: how many, the first and the last one, and the keys that signed them.

    `versions` are at most `MOST_VERSIONS` of them, the first ones.
    """

    role: str
    first: int
    last: int
    count: int
    versions: tuple[int, ...]
    keyids: tuple[str, ...]


class FrozenBound(msgspec.Struct, frozen=True):
    """Until when a client behind a mirror that is frozen at some publication could be shown something.

    `until` is the greatest, over all publications that offered it, of the least expiry among timestamp, snapshot, the
    bin in force, root, targets and bins. `publication` is the one that gives it, and `role` the one that expires first.
    """

    until: str
    publication: int
    role: str


class ExposureWindow(msgspec.Struct, frozen=True):
    """The publications that offered something without a break.

    Attributes:
        reach: `offered` (it is now), `ended`, `never`: no publication showed it; `pending` and `held`: none did yet.
        listed: the intervals of events in which it was listed (None: it still is) that these publications show.
        first: the first publication that offered it; None: none did.
        last: the last one so far.
        gone: the first one that no longer offers it; None: there is none.
        frozen: until when it could be shown, as long as no key is lost.
        lost: until when, if so many of the online keys that signed it are lost as their threshold says.
        carried: what carried it.
    """

    reach: Reach
    listed: tuple[tuple[int, int | None], ...]
    first: Moment | None = None
    last: Moment | None = None
    gone: Moment | None = None
    frozen: FrozenBound | None = None
    lost: tuple[KeyBound, ...] = ()
    carried: tuple[SignedVersions, ...] = ()


class Exposure(msgspec.Struct, frozen=True):
    """A distribution file, or the bytes of another target, and whom it reached.

    `event` is the index of the event that brought it. `state` is that at the end of the log.
    """

    kind: Literal["file", "target"]
    path: str
    sha256: str
    length: int
    event: int
    state: str
    project: str | None
    filename: str | None
    version: str | None
    windows: tuple[ExposureWindow, ...]

    @property
    def is_offered(self) -> bool:
        """Whether the newest publication offers it."""
        return any(each.reach == "offered" for each in self.windows)


# --- what a text names -----------------------------------------------------------------------------------------------


class TargetBytes(NamedTuple):
    """The bytes that a target which is neither a page nor a distribution file had at times."""

    path: str
    sha256: bytes
    length: int


Target = UploadRow | TargetBytes


async def find_exposures(asked: Asked, text: str) -> AsyncIterator[Exposure]:
    """The exposure of all that a text names: a file's name, NAME==VERSION, a target path, or a SHA-256.

    Raises:
        NegativeAnswerError: it names nothing that an accepted event brought.
    """
    found = await asked.database.run(find_targets, text)
    for start in range(0, len(found), PAGE):
        for each in await asked.database.run(expose, asked, found[start : start + PAGE]):
            yield each


def find_targets(connection: Connection, text: str) -> list[Target]:
    """What a text names, distribution files first.

    Raises:
        NegativeAnswerError: it names nothing that an accepted event brought.
    """
    name, equal, version = text.partition("==")
    digest, path = read_digest(text), target_of(text) or text
    if is_page(path):
        raise NegativeAnswerError(f"{text} is a page: name a file, or ask `tuf-ledger show {path}`")
    found: list[Target] = []
    if digest is not None:
        found += states.uploads_of_bytes(connection, digest)
        paths = {each.path for each in states.artifacts_of_bytes(connection, digest)}
        found += [each for path in sorted(paths) for each in _bytes_at(connection, path) if each.sha256 == digest]
    elif equal:
        project = states.project_number(connection, normalise(name))
        if project is not None:
            found += states.uploads_of_release(connection, project, release_key(version))
    else:
        hashed = states.uploads_hashed(connection, path_hash(path))
        found += [each for each in hashed if path_of(each) == path] or states.uploads_named(connection, text)
        found += _bytes_at(connection, path)
    if not found:
        raise NegativeAnswerError(f"there never was a file, release, target or SHA-256 {text}")
    return found


def _bytes_at(connection: Connection, path: str) -> list[TargetBytes]:
    rows = states.states_of_artifact(connection, path)
    return list(dict.fromkeys(TargetBytes(path, each.sha256, each.length) for each in rows))


# --- whom it reached -------------------------------------------------------------------------------------------------


def expose(connection: Connection, asked: Asked, targets: Iterable[Target]) -> list[Exposure]:
    """Whom some targets reached, in the order given."""
    exposing = _Exposing(connection, asked)
    some = list(targets)
    uploads = [each for each in some if isinstance(each, UploadRow)]
    by_project: dict[int, list[UploadRow]] = {}
    for upload in uploads:
        by_project.setdefault(upload.project, []).append(upload)
    names = states.project_names(connection, by_project)
    standing = {each.upload.id: each for of in by_project.items() for each in standings(connection, *of)}
    found = []
    for target in some:
        if isinstance(target, UploadRow):
            found.append(_of_file(standing[target.id], names[target.project], exposing))
        else:
            found.append(_of_bytes(target, states.states_of_artifact(connection, target.path), exposing))
    return found


def _of_file(standing: FileStanding, project: str, exposing: "_Exposing") -> Exposure:
    upload = standing.upload
    return Exposure(
        "file",
        standing.path,
        upload.sha256.hex(),
        upload.length,
        upload.upload_idx,
        standing.state,
        project,
        upload.filename,
        upload.version,
        exposing.windows(standing.path, standing.listed),
    )


def _of_bytes(target: TargetBytes, rows: Sequence[ArtifactState], exposing: "_Exposing") -> Exposure:
    had = [row for row in rows if (row.sha256, row.length) == (target.sha256, target.length)]
    listed = merged((row.from_idx, row.to_idx) for row in had if row.state == THERE)
    state = STATES[had[-1].state] if had[-1] is rows[-1] else "replaced"
    return Exposure(
        "target",
        target.path,
        target.sha256.hex(),
        target.length,
        had[0].from_idx,
        state,
        None,
        None,
        None,
        exposing.windows(target.path, listed),
    )


class _Exposing:
    """Looks at publications, in one transaction; what several targets need is read once."""

    def __init__(self, connection: Connection, asked: Asked) -> None:
        self._connection = connection
        self._places = Places(connection, asked)
        self._remaking = Remaking(connection)
        self._eras = publication_rows.eras(connection)
        self._bounds: dict[str, KeyBound] = {}
        self._carrying: dict[tuple[str, tuple[int, int]], list[SignedVersions]] = {}
        self._expiring: dict[tuple[str, _Span], FrozenBound] = {}
        self._following: dict[int, Moment] = {}
        self._newest = asked.number

    def windows(self, path: str, listed: Sequence[Interval]) -> tuple[ExposureWindow, ...]:
        """The windows of a target that was listed in some intervals, in the order of the log."""
        found = []
        offerings = self._places.offerings(listed)
        shown: list[list[Interval]] = [[] for _ in offerings]
        for interval in listed:
            offer = self._places.offer(*interval)
            if offer is None:
                status = self._places.of(interval[0], FILE_UPLOADED).status
                reach: Reach = "never" if status == "shown" else "held" if status == "held" else "pending"
                found.append(ExposureWindow(reach, _intervals([interval])))
                continue
            shown[next(at for at, each in enumerate(offerings) if each.first <= offer.first <= _last(each))].append(
                interval
            )
        found += [self._window(path, each, some) for each, some in zip(offerings, shown, strict=True)]
        return tuple(sorted(found, key=lambda each: each.listed))

    def _window(self, path: str, offer: Offering, listed: Sequence[Interval]) -> ExposureWindow:
        first = self._publication(offer.first)
        last = self._publication(self._newest if offer.last is None else offer.last)
        spans = self._spans(first.number, last.number)
        keyids = sorted({keyid for era, *_ in spans for keyid in self._authority(era).online.keyids})
        return ExposureWindow(
            "offered" if offer.last is None else "ended",
            _intervals(listed),
            _moment(first),
            _moment(last),
            None if offer.last is None else self._after(offer.last),
            max((self._frozen(path, span) for span in spans), key=lambda each: (each.until, -each.publication)),
            tuple(self._bound(keyid) for keyid in keyids),
            tuple(self._carriers(path, spans)),
        )

    def _publication(self, number: int) -> PublicationRow:
        row = self._remaking.publication(number)
        if row is None:
            raise AssertionError(f"publication {number} offers something")
        return row

    def _after(self, number: int) -> Moment:
        """The publication that follows one, which is not the newest."""
        if number not in self._following:
            (row,) = publication_rows.publications_between(self._connection, number + 1, FOREVER, 1, oldest_first=True)
            self._following[number] = _moment(row)
        return self._following[number]

    def _authority(self, era: Era) -> Authority:
        return self._remaking.authority(self._publication(era.first))

    def _bound(self, keyid: str) -> KeyBound:
        if keyid not in self._bounds:
            self._bounds[keyid] = bound_of_key(self._connection, keyid)
        return self._bounds[keyid]

    def _spans(self, first: int, last: int) -> list["_Span"]:
        """The publications from one to another, cut where offline roles changed."""
        return [
            _Span(each, max(first, each.first), min(last, each.last))
            for each in self._eras
            if each.first <= last and each.last >= first
        ]

    # --- a frozen mirror -------------------------------------------------------------------------------------

    def _frozen(self, path: str, span: "_Span") -> FrozenBound:
        """The bound that the publications of a span give.

        Under the same offline roles no time goes back, so a later publication expires later, unless the version of the
        bin is an older one with a longer expiry: from before these roles came. So two publications decide.
        """
        authority, role = self._authority(span.era), self._bin_of(path, span)
        if (role, span) not in self._expiring:
            self._expiring[role, span] = self._bound_of(role, span, authority)
        return self._expiring[role, span]

    def _bound_of(self, role: str, span: "_Span", authority: Authority) -> FrozenBound:
        numbers = [span.last]
        signed = publication_rows.version_after(self._connection, role, span.era.first - 1)
        if signed is not None and span.first < signed <= span.last:
            before = writing.publication_before(self._connection, signed)
            numbers.append(span.first if before is None else before.number)
        found = [self._least(role, self._publication(number), authority) for number in numbers]
        return max(found, key=lambda each: each.until)

    def _least(self, role: str, row: PublicationRow, authority: Authority) -> FrozenBound:
        version = publication_rows.last_version(self._connection, role, row.number)
        signed = self._publication(version or 0)
        settings = authority.settings
        expiries = {
            TIMESTAMP: expires_at(row.time, settings.timestamp_expiry_seconds),
            SNAPSHOT: expires_at(row.time, settings.snapshot_expiry_seconds),
            role: expires_at(signed.time, self._remaking.authority(signed).settings.bin_expiry_seconds),
            **{document.role: document.expires for document in authority.documents},
        }
        first = min(expiries, key=expiries.__getitem__)
        return FrozenBound(expiries[first], row.number, first)

    # --- what carried it -------------------------------------------------------------------------------------

    def _carriers(self, path: str, spans: Sequence["_Span"]) -> list[SignedVersions]:
        found: dict[tuple[str, tuple[str, ...]], SignedVersions] = {}
        for span in spans:
            online = self._authority(span.era).online
            role, end = self._bin_of(path, span), span.last + 1
            start = span.first
            if span is spans[0]:  # another project's file with this path may be in the bin already
                start = publication_rows.last_version(self._connection, role, start) or start
            for name, first in ((role, start), (SNAPSHOT, span.first), (TIMESTAMP, span.first)):
                for each in self._signed(name, (first, end), online):
                    before = found.get((name, each.keyids))
                    found[name, each.keyids] = each if before is None else _joined(before, each)
        order = {SNAPSHOT: 1, TIMESTAMP: 2}
        return sorted(found.values(), key=lambda each: (order.get(each.role, 0), each.first, each.role, each.keyids))

    def _bin_of(self, path: str, span: "_Span") -> str:
        layout = self._authority(span.era).layout
        return layout.name(layout.index_of_target(path))

    def _signed(self, role: str, numbers: tuple[int, int], online: RoleKeys) -> list[SignedVersions]:
        """The versions of a role from one number to below another, by the keys that signed them."""
        if (role, numbers) not in self._carrying:
            self._carrying[role, numbers] = self._read_signed(role, numbers, online)
        return self._carrying[role, numbers]

    def _read_signed(self, role: str, numbers: tuple[int, int], online: RoleKeys) -> list[SignedVersions]:
        if online.threshold == len(online.keyids):  # then all keys signed everything
            some = publication_rows.versions_between(self._connection, role, *numbers, limit=MOST_VERSIONS)
            count, last = publication_rows.count_versions(self._connection, role, *numbers)
            return [SignedVersions(role, some[0], last, count, tuple(some), online.keyids)] if some else []
        found: dict[tuple[str, ...], list[int]] = {}
        for number, signatures in publication_rows.signatures_between(self._connection, role, *numbers):
            found.setdefault(_signers(online.keyids, signatures), []).append(number)
        return [
            SignedVersions(role, some[0], some[-1], len(some), tuple(some[:MOST_VERSIONS]), keyids)
            for keyids, some in found.items()
        ]


class _Span(NamedTuple):
    """Some publications under the same offline roles, from the first to the last."""

    era: Era
    first: int
    last: int


_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


def _signers(keyids: Sequence[str], signatures: bytes) -> tuple[str, ...]:
    return tuple(keyid for keyid, each in zip(keyids, _unpack(signatures), strict=True) if each)


def _joined(before: SignedVersions, after: SignedVersions) -> SignedVersions:
    versions = (before.versions + after.versions)[:MOST_VERSIONS]
    return msgspec.structs.replace(before, last=after.last, count=before.count + after.count, versions=versions)


def _moment(row: PublicationRow) -> Moment:
    return Moment(row.number, row.time, row.effective_time)


def _intervals(some: Iterable[Interval]) -> tuple[tuple[int, int | None], ...]:
    return tuple((start, None if end == FOREVER else end) for start, end in some)


def _last(offer: Offering) -> int:
    return FOREVER if offer.last is None else offer.last
