"""Runs of publications: only the last one is rendered, and the versions between are skipped."""

from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from consumers.reading.publications import ChainReader, Prefixes, Rejudging, ValidPublication
from ledger.state.publications import AppliedPublication as PublicationRow
from projections.log.prefix import Prefix
from projections.metadata.repository import expires_at, signs_all_bins
from projections.outcomes import Judged
from projections.publications import LogTooShortError
from projections.roles.authority import Authority, UpgradeNeededError
from schemas.publications import Claim


class Stamp(NamedTuple):
    """The number and expiry that a publication gives the bins it signs. `sha256` is the file's digest on the log, if
    known.
    """

    number: int
    expires: str
    sha256: str = ""


class Shown(NamedTuple):
    """What a publication shows: its claim, the offline roles at the claim's size, and its content size."""

    claim: Claim
    authority: Authority
    content_size: int


class Window(NamedTuple):
    """How far a run goes of which every version is checked: to the end of an era, and as far as it fits into memory.

    An era ends before a publication that signs all bins, renders all pages, or starts a new time.

    Args:
        before: the offline roles of the publication before.
        shown_before: its content size.
    """

    before: Authority
    shown_before: int
    most_publications: int = 1_000
    most_events: int = 20_000
    most_signed: int = 50_000
    most_judged: int = 20_000

    def has_room(self, run: "Run", valid: ValidPublication) -> bool:
        """Whether a publication belongs to the run."""
        before, now = self.before, valid.authority
        return (
            not signs_all_bins(before, now)
            and before.settings.html_pages == now.settings.html_pages
            and before.time_from == now.time_from
            and len(run.rows) < self.most_publications
            and valid.content_size - self.shown_before <= self.most_events
            and run.signed + len(valid.publication.roles) <= self.most_signed
        )


class Run:
    """Publications that are applied together. Verdicts on records from `judged_from` on, if any, no longer hold.

    `signed` is how many versions of bins they signed. In a `window`, all of them are kept as `publications`.
    """

    def __init__(self, window: Window | None = None) -> None:
        self.publications: list[ValidPublication] = []
        self.signed = 0
        self._window = window
        self.judged_from: int | None = None
        self.shown: list[Shown] = []
        self.rows: list[PublicationRow] = []
        self.judged: list[Judged] = []
        self.stamps: dict[str, Stamp] = {}
        self.seals: dict[str, tuple[str, Sequence[str]]] = {}
        self.last: ValidPublication | None = None

    def has_room(self, valid: ValidPublication) -> bool:
        """Whether the next publication belongs to the run."""
        return self._window is None or self._window.has_room(self, valid)

    @property
    def is_full(self) -> bool:
        """Whether so many records were rejected that the window ends."""
        return self._window is not None and len(self.judged) >= self._window.most_judged

    def add(self, valid: ValidPublication) -> None:
        """Add the next publication."""
        self.shown.append(Shown(valid.claim, valid.authority, valid.content_size))
        self.rows.append(publication_row(valid, stepped=self._window is not None))
        self.signed += len(valid.publication.roles)
        if self._window is not None:
            self.publications.append(valid)
        expires = expires_at(valid.claim.time, valid.authority.settings.bin_expiry_seconds)
        for name, digest, signatures in valid.publication.roles:
            self.stamps[name] = Stamp(valid.claim.number, expires, b64decode(digest).hex())
            self.seals[name] = (digest, signatures)
        self.last = valid

    def judge_from(self, first: int | None) -> None:
        """Forget verdicts on records from this one on; they are judged again."""
        if first is not None:
            self.judged_from = first if self.judged_from is None else min(self.judged_from, first)
            self.judged = [each for each in self.judged if each.index < first]


async def collect(
    reader: ChainReader,
    prefixes: Prefixes,
    wanted: Callable[[Claim], bool],
    *,
    halted_at: str | None = None,
    window: Window | None = None,
) -> Run:
    """Judge the next publications. The run ends before one that is unwanted, that a later root voids, or that diverges.

    Args:
        reader: the reader; afterwards it stands behind the run.
        prefixes: the prefixes that the reader uses, read to the end of the log.
        wanted: whether a publication belongs to the run; the first unwanted one ends it.
        halted_at: the digest of a publication that is known to diverge.
        window: how far a run goes of which every version is checked; None: only the last one will be rendered.
    """
    before, voids = reader.state, _voids(prefixes.end)
    run = await _collect(reader, prefixes, wanted, halted_at, Run(window))
    if _voids(prefixes.end) != voids:
        # A root that came meanwhile may void a publication of this run.
        judged_from, reader.state = run.judged_from, before
        run = await collect(reader, prefixes, wanted, halted_at=halted_at, window=window)
        run.judge_from(judged_from)
    return run


async def _collect(
    reader: ChainReader, prefixes: Prefixes, wanted: Callable[[Claim], bool], halted_at: str | None, run: Run
) -> Run:
    while not run.is_full and (found := await _next(reader, run)) is not None:
        if isinstance(found, Rejudging):
            run.judge_from(found.first_record)
        elif not isinstance(found, ValidPublication):
            run.judged.extend(found)
        elif _ends(found, prefixes.end, halted_at) or not (wanted(found.claim) and run.has_room(found)):
            break
        else:
            run.add(found)
            reader.accept(found)
    return run


def _voids(end: Prefix) -> int:
    return len(end.authority.voids) if end.authority else 0


def _ends(valid: ValidPublication, end: Prefix, halted_at: str | None) -> bool:
    """Whether a publication ends every run: a root voids it, or it is known to diverge."""
    authority = end.authority
    is_voided = authority is not None and authority.void_for(valid.claim.number, valid.digest) is not None
    return is_voided or valid.digest == halted_at


async def _next(reader: ChainReader, run: Run) -> list[Judged] | ValidPublication | Rejudging | None:
    """The next records, or None where the log ends. A record that stops followers ends a run that has publications."""
    try:
        return await reader.next()
    except (LogTooShortError, UpgradeNeededError):
        if run.last is None:
            raise
        return None


def publication_row(valid: ValidPublication, *, stepped: bool) -> PublicationRow:
    """The row that a state stores for a publication; `stepped` says that the follower renders it itself."""
    return PublicationRow(
        valid.claim.number,
        valid.record_index,
        valid.digest,
        valid.claim.time,
        valid.claim.size,
        valid.content_size,
        len(valid.publication.roles),
        b64decode(valid.publication.snapshot[0]).hex(),
        sha256(valid.timestamp()).hexdigest(),
        int(stepped),
    )
