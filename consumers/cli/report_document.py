"""The report of an incident as a document: sections of paragraphs, lists and tables, for every rendering the same.

All texts are plain: some come from the log, so from anybody. Whoever renders them escapes them.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from consumers.cli.exposures import carriers, duration, moment_text
from consumers.cli.shared import plural
from consumers.cli.things import span_text
from consumers.incidents.exposure import Exposure, ExposureWindow
from consumers.incidents.proposing import REASONS, ProposedEvents
from consumers.incidents.reporting import Acted, IncidentReport, ReplayDifference, ToldEvent

MOST_ROWS = 200
"""Rows of a table of events; the values for machines have more."""

_SHORT = 16
"""Digits of a key id where the whole id stands elsewhere."""

_REASONS = {
    "project": "acts on a project that a suspect began",
    "grant": "acts under a suspect grant",
    "credential": "other acts with a suspect credential",
    "actor": "other acts of an actor of suspects",
    "digest": "the same bytes elsewhere",
    "first-use": "a credential first used in that time, without a grant",
    "revocation": "a right that a suspect revoked",
    "release": "a hold that was released",
    "root": "a root that came in that time",
    "publications": "publications under its keys",
}
NAMED = REASONS[6:]
"""Reasons of what is named alone: no list holds it, or a person must decide."""


class Paragraph(NamedTuple):
    """A text; `is_warning` says that a reader must not miss it."""

    text: str
    is_warning: bool = False


class Bullets(NamedTuple):
    """Texts, one below the other."""

    items: Sequence[str]


class Grid(NamedTuple):
    """Rows under headers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


class Lines(NamedTuple):
    """Lines to copy, as they are."""

    lines: Sequence[str]


Block = Paragraph | Bullets | Grid | Lines


class Section(NamedTuple):
    """A part of the document."""

    title: str
    blocks: Sequence[Block]


def title_of(report: IncidentReport) -> str:
    """The headline."""
    return f"Incident {report.head.incident}: {report.head.title}" if report.head.title else report.head.incident


def sections(report: IncidentReport, url: str = "") -> list[Section]:
    """The document, in the order in which people need it; `url` is where everything is served, if that is known."""
    found = [
        Section("In short", [Bullets(list(_summary(report)))]),
        Section("Whom it reached", list(_exposure(report))),
        Section("Suspects", list(_suspects(report))),
        Section("Who made them, and what else they did", list(_acted(report))),
        Section("What else may belong to it", list(_proposals(report))),
        Section("What the index says, and what it should say", list(_differences(report))),
        Section("What was done so far", list(_measures(report))),
        Section("Keys", list(_keys(report))),
        Section("If something else is lost, too", list(_assumptions(report))),
        Section("To purge from caches, and to search download logs for", list(_purge(report, url))),
        Section("Burnt names", list(_burnt(report))),
        Section("How this report was made", list(_made(report))),
    ]
    return [each for each in found if each.blocks]


# --- in short --------------------------------------------------------------------------------------------------------


def _summary(report: IncidentReport) -> Iterator[str]:
    head = report.head
    if not head.count:
        yield "No event is suspect."
        yield "What was signed outside of the log is not here: `verify --served` and `compare` name it."
        return
    about = f", in {_many(report.projects, 'project')}" if report.projects else ""
    yield f"{plural(head.count, 'event')} {_are(head.count)} suspect{about}."
    yield f"Made by {_some([_who(each.actor_kind, each.actor, each.credential) for each in report.acted])}."
    if report.first is not None and report.last is not None:
        yield (
            f"First shown from {moment_text(report.first)} to {moment_text(report.last)} (publication "
            f"{_numbers(report.first.publication, report.last.publication)})."
        )
    yield from _reached(report)
    flips = sum(each.flip_count for each in report.differences)
    if flips:
        yield f"{plural(flips, 'other event')} would have ended otherwise without the suspects."
    steps = sum(each.steps for each in report.differences)
    if report.differences:
        about = _some(each.name for each in report.differences)
        yield f"The index says otherwise than it should of {about}; {plural(steps, 'step')} of a plan undo it."
    else:
        yield "The index says what it should say."
    if report.revocations:
        yield f"Suspects granted {plural(len(report.revocations), 'right')} that nobody ended: a plan revokes them."
    if report.residuals:
        yield f"{plural(len(report.residuals), 'thing')} cannot be undone by a step: each has a remedy below."
    others = sum(each.reason not in NAMED for each in report.proposals.proposals)
    named = len(report.proposals.proposals) - others
    if others:
        yield f"{plural(others, 'proposal')} of what else may belong to it."
    if named:
        yield f"{plural(named, 'thing')} that only a person can decide."


def _reached(report: IncidentReport) -> Iterator[str]:
    exposures = report.exposures
    if not exposures:
        yield "Suspects brought no file."
        return
    shown = [each for each in exposures if any(window.first is not None for window in each.windows)]
    now = [each for each in exposures if each.is_offered]
    yield (
        f"{plural(len(exposures), 'file')} came by suspects; {len(shown):,} {_were(len(shown))} ever offered, "
        f"{len(now):,} {_are(len(now))} offered now."
    )
    windows = [window for each in shown for window in each.windows if window.first is not None]
    if windows:
        first = min(window.first.effective_time for window in windows if window.first is not None)
        ends = [window.gone for window in windows if window.gone is not None]
        until = "until now" if now else f"until {max(each.effective_time for each in ends)}"
        yield f"They were offered from {first} {until}."
    if report.frozen_until is not None:
        yield f"A client behind a frozen mirror could be shown one until {report.frozen_until}, if no key is lost."


# --- whom it reached -------------------------------------------------------------------------------------------------


def _exposure(report: IncidentReport) -> Iterator[Block]:
    if not report.exposures:
        return
    yield Paragraph("Times are those of publications: a server may have lagged behind them.")
    rows = [row for each in report.exposures for row in _exposure_rows(each)]
    yield Grid(("file", "offered from", "until", "for", "publications", "a frozen mirror until"), rows)
    yield Paragraph("What carried them, and the keys that signed it (whole ids are below):")
    carried = [row for each in report.exposures for window in each.windows for row in _carried(each, window)]
    yield Grid(("file", "carried by", "signed by"), carried)


def _exposure_rows(each: Exposure) -> Iterator[tuple[str, ...]]:
    name = _name(each)
    if not each.windows:
        yield name, "never", "", "", "", ""
    for window in each.windows:
        if window.first is None or window.last is None or window.frozen is None:
            words = {"never": "never", "pending": "not yet", "held": "not yet: held"}
            yield name, words[window.reach], "", "", "", ""
            continue
        until = "now" if window.gone is None else moment_text(window.gone)
        took = "" if window.gone is None else duration(window.first, window.gone)
        numbers = _numbers(window.first.publication, window.last.publication)
        frozen = f"{window.frozen.until} ({window.frozen.role})"
        yield name, moment_text(window.first), until, took, numbers, frozen


def _carried(each: Exposure, window: ExposureWindow) -> Iterator[tuple[str, ...]]:
    for keyids, versions in carriers(window.carried):
        yield _name(each), ", ".join(versions), ", ".join(keyid[:_SHORT] for keyid in keyids)


def _name(each: Exposure) -> str:
    return each.path if each.filename is None else each.filename


# --- events ----------------------------------------------------------------------------------------------------------


def _suspects(report: IncidentReport) -> Iterator[Block]:
    if not report.suspects:
        return
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in report.verdicts.items())
    yield Paragraph(f"{plural(report.head.count, 'event')}: {verdicts}.")
    outside = sum(each.outside for each in report.suspects)
    if outside:
        text = (
            f"{plural(outside, 'event')} {'says' if outside == 1 else 'say'} a time outside of when it was published."
        )
        yield Paragraph(text, is_warning=True)
    yield _events(report.suspects)
    if report.head.count > min(len(report.suspects), MOST_ROWS):
        yield Paragraph(f"The first {min(len(report.suspects), MOST_ROWS)} are shown; incident show lists all.")


def _events(events: Sequence[ToldEvent]) -> Grid:
    rows = [
        (f"{each.event}", each.what, _verdict(each), _who(each.actor_kind, each.actor, each.credential), _when(each))
        for each in events[:MOST_ROWS]
    ]
    return Grid(("event", "what", "became", "who", "published"), rows)


def _verdict(each: ToldEvent) -> str:
    return each.verdict if each.code is None else f"{each.verdict}, {each.code}"


def _when(each: ToldEvent) -> str:
    if each.publication is None:
        return each.standing
    start = f"{each.not_before} to " if each.not_before else "until "
    own = f"; it says {each.time}, outside" if each.outside else ""
    return f"{start}{each.not_after}, publication {each.publication}{own}"


def _who(kind: str | None, actor: str | None, credential: str | None) -> str:
    if actor is None:
        return ""
    by = actor if kind == "user" else f"{actor} ({kind})"
    return by if credential is None else f"{by} with {credential}"


def _acted(report: IncidentReport) -> Iterator[Block]:
    if not report.acted:
        return
    rows = [_acted_row(each) for each in report.acted]
    yield Grid(("actor", "credential", "suspect", "others before", "within", "after"), rows)
    yield Paragraph(
        "Other events with the same credential, or without one of the same actor: before the first suspect, between "
        "the first and the last, after the last."
    )


def _acted_row(each: Acted) -> tuple[str, ...]:
    counts = (each.suspects, each.before, each.within, each.after)
    return _who(each.actor_kind, each.actor, None), each.credential or "", *(f"{count:,}" for count in counts)


def _measures(report: IncidentReport) -> Iterator[Block]:
    if report.measures:
        yield _events(report.measures)


# --- proposals -------------------------------------------------------------------------------------------------------


def _proposals(report: IncidentReport) -> Iterator[Block]:
    found = report.proposals
    told = {each.event: each for each in report.told}
    chosen = [each for each in found.proposals if each.reason not in NAMED]
    named = [each for each in found.proposals if each.reason in NAMED]
    if not found.is_complete:
        yield Paragraph("There is too much to follow: not all is proposed. Narrow the list.", is_warning=True)
    if chosen:
        yield Paragraph("Nothing of this is in the list; incident amend adds what you choose. Steps count from it.")
        rows = [_proposal_row(each, told) for each in chosen]
        yield Grid(("steps", "reason", "about", "because", "events", "the first", "found by"), rows)
    if named:
        yield Paragraph("Named, and not to be selected: decide these yourself.")
        yield Bullets([f"{_REASONS[each.reason]}: {each.about}, {_which(each)} ({each.because})" for each in named])


def _proposal_row(each: ProposedEvents, told: dict[int, ToldEvent]) -> tuple[str, ...]:
    when = f", {each.when}" if each.when else ""
    first = told.get(each.first[0])
    what = f"event {each.first[0]}" + ("" if first is None else f": {first.what}")
    return (
        f"{each.depth}",
        f"{_REASONS[each.reason]}{when}",
        each.about,
        each.because,
        f"{each.count:,}",
        what,
        " ".join(map(_option, each.selectors)),
    )


def _option(selector: str) -> str:
    """A selector as an option of `incident amend`: `actor=alice` is `--actor alice`."""
    kind, _, value = selector.partition("=")
    return f"--{kind} {shlex.quote(value)}"


def _which(each: ProposedEvents) -> str:
    if each.reason == "publications":
        return f"{plural(each.count, 'publication')}, {_numbers(each.first[0], each.last)}"
    return f"event {each.last}"


# --- what the index should say ---------------------------------------------------------------------------------------


def _differences(report: IncidentReport) -> Iterator[Block]:
    flips = [
        (each.name, f"event {flip.event.event}: {flip.event.what}", flip.live, flip.clean)
        for each in report.differences
        for flip in each.flips
    ]
    if flips:
        yield Paragraph("These events were not suspect, and ended otherwise because of the suspects:", is_warning=True)
        yield Grid(("about", "event", "it was", "it should have been"), flips[:MOST_ROWS])
    rows = [row for each in report.differences for row in _deviation_rows(each)]
    if rows:
        yield Grid(("about", "what", "the index says", "it should say"), rows)
    if report.revocations:
        yield Paragraph("Rights that suspects granted, and that a plan revokes:")
        yield Bullets(report.revocations)
    if report.residuals:
        yield Paragraph("No step undoes these:")
        residuals = [(each.about, each.name, each.detail, each.remedy) for each in report.residuals]
        yield Grid(("about", "name", "what is left", "remedy"), residuals)


def _deviation_rows(each: ReplayDifference) -> Iterator[tuple[str, ...]]:
    for one in each.deviations:
        what = " ".join(part for part in (one.what, one.name if one.what != "target" else "", one.aspect) if part)
        yield each.name, what, one.live or "nothing", one.clean or "nothing"


# --- keys ------------------------------------------------------------------------------------------------------------


def _keys(report: IncidentReport) -> Iterator[Block]:
    rows = [
        (
            each.keyid,
            "in force" if each.in_force else "no longer",
            "; ".join(span_text(span) for span in each.spans),
            each.bound.until or "",
        )
        for each in report.keys
    ]
    if rows:
        yield Grid(("online key", "now", "listed by", "if it is lost, believed until"), rows)
    for root in report.roots:
        text = f"Root {root.version} came between the first suspect and the last (event {root.event})."
        yield Paragraph(text, is_warning=True)


def _assumptions(report: IncidentReport) -> Iterator[Block]:
    if not report.assumptions:
        return
    rows = [
        (each.lost, each.updates, each.freeze, each.until or "not by time", each.shows, each.remedy)
        for each in report.assumptions
    ]
    headers = ("lost", "malicious updates", "kept from newer ones", "believed until", "it shows by", "remedy")
    yield Grid(headers, rows)
    yield Paragraph("After PEP 458, “Role compromise”.")


# --- what to do with bytes and names ---------------------------------------------------------------------------------


def _purge(report: IncidentReport, url: str) -> Iterator[Block]:
    if not report.purge:
        return
    shared = [each.target for each in report.purge if each.shared]
    if shared:
        text = f"Others have files with the same path, which may be wanted: {', '.join(shared)}"
        yield Paragraph(text, is_warning=True)
    where = "URLs" if url else "Paths below the URL of what is served"
    yield Paragraph(f"{where}, then those of pages that linked to them, then digests:")
    paths = [path for each in report.purge for path in each.served]
    pages = dict.fromkeys(path for each in report.purge for path in each.pages)
    digests = dict.fromkeys(f"{kind}:{digest}" for each in report.purge for kind, digest in each.digests.items())
    served = [f"{url.rstrip('/')}/{quote(each)}" if url else each for each in (*paths, *pages)]
    yield Lines([*served, *digests])


def _burnt(report: IncidentReport) -> Iterator[Block]:
    if not report.burnt:
        return
    wanted = [each.file for each in report.burnt if each.wanted]
    if wanted:
        yield Paragraph(f"Others wanted these names, and were refused: {', '.join(wanted)}", is_warning=True)
    yield Paragraph(
        "No other bytes can ever have these names, unless root holders sign for this list: ceremony --freeable FILE, "
        f"then free. Its Merkle root is {report.freeable}."
    )
    yield Lines(list(freeable_lines(report)))


def freeable_lines(report: IncidentReport) -> Iterator[str]:
    """The list of burnt names, in the form that `ceremony --freeable` takes."""
    for each in report.burnt:
        yield json.dumps({"file": each.file, "project": each.project, "sha256": each.sha256}, sort_keys=True)


def _made(report: IncidentReport) -> Iterator[Block]:
    head = report.head
    made = "none" if head.publication is None else f"{head.publication.publication}, {moment_text(head.publication)}"
    rows = [
        ("ledger", f"{head.origin}, {head.ledger}"),
        ("size of the log", f"{head.size:,} events, Merkle root {head.root_hash}"),
        ("publication", made),
        ("list of suspects", f"version {head.version}, {plural(head.count, 'event')}, Merkle root {head.selection}"),
    ]
    if head.held_from is not None:
        rows.append(("held", f"from event {head.held_from} on"))
    yield Grid(("", ""), rows)
    yield Paragraph("The same log size, publication and list give this report again, byte for byte. No clock is in it.")


# --- words -----------------------------------------------------------------------------------------------------------


def _numbers(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _many(names: Sequence[str], what: str) -> str:
    return f"{plural(len(names), what)}" + (f" ({_some(names)})" if names else "")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 8:,} more" if len(listed) > 8 else ""
    return ", ".join(listed[:8]) + more
