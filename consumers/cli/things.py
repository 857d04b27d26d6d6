"""Printing publications, versions of roles, targets and keys, for people and for machines."""

from collections.abc import Sequence
from typing import Any

import click

from consumers.catalog.blaming import Blame
from consumers.catalog.keys import ALL_BINS, KeyAnswer, KeySpan
from consumers.catalog.placing import Offering
from consumers.catalog.showing import PublicationAnswer, PublicationSummary, RoleAnswer, TargetAnswer
from consumers.cli.paging import shown
from consumers.cli.shared import plural
from ledger.catalog.writing import PublicationRow

MOST_NAMES = 8


# --- publications ----------------------------------------------------------------------------------------------------


def _head(row: PublicationRow, *, reproduced: bool) -> str:
    effective = "" if row.effective_time == row.time else f", effective {row.effective_time}"
    head = click.style(f"publication {row.number}", bold=True)
    return f"{head}  {row.time}{effective}, {reproduced_text(reproduced=reproduced)}"


def reproduced_text(*, reproduced: bool) -> str:
    """Whether a follower on this machine has reproduced a publication."""
    return "reproduced here" if reproduced else click.style("not reproduced here", fg="yellow")


def publication_lines(answer: PublicationAnswer) -> list[str]:
    """A publication for people, without its events."""
    row = answer.row
    return [
        _head(row, reproduced=answer.reproduced),
        f"    record {row.record} {row.digest.hex()}, claimed in record {row.claim_record}",
        f"    size {row.size}, content size {row.content_size}, Merkle root {row.root_hash}",
        f"    root {answer.root}, in force by event {row.roles_idx}; list of projects of {row.list_time}",
        f"    signed {names(answer.bins, 'bin')}",
        f"    snapshot  {answer.snapshot}",
        f"    timestamp {answer.timestamp}",
    ]


def publication_json(answer: PublicationAnswer) -> dict[str, Any]:
    """A publication for machines, without its events."""
    row = answer.row
    return {
        "publication": row.number,
        "record": row.record,
        "digest": row.digest.hex(),
        "claim_record": row.claim_record,
        "time": row.time,
        "effective_time": row.effective_time,
        "size": row.size,
        "content_size": row.content_size,
        "root_hash": row.root_hash,
        "root": answer.root,
        "ceremony": row.roles_idx,
        "signed": list(answer.bins),
        "snapshot_sha256": answer.snapshot,
        "timestamp_sha256": answer.timestamp,
        "covers": list(answer.covered),
        "shows": list(answer.first_shown),
        "reproduced": answer.reproduced,
    }


def summary_lines(answer: PublicationSummary) -> list[str]:
    """A publication in two lines for people."""
    row = answer.row
    covers = "" if (row.size, answer.covers) == (row.content_size, answer.shows) else f", covers {answer.covers:,} more"
    shows = f"size {row.size}, shows {plural(answer.shows, 'event')} more{covers}"
    signed = plural(row.signed, "bin")
    return [_head(row, reproduced=answer.reproduced), f"    {shows}, root {answer.root}, signed {signed}"]


def summary_json(answer: PublicationSummary) -> dict[str, Any]:
    """The same for machines."""
    row = answer.row
    return {
        "publication": row.number,
        "record": row.record,
        "digest": row.digest.hex(),
        "time": row.time,
        "effective_time": row.effective_time,
        "size": row.size,
        "content_size": row.content_size,
        "root": answer.root,
        "bins": row.signed,
        "reproduced": answer.reproduced,
    }


def names(some: Sequence[str], what: str) -> str:
    """Some names, and how many they are: `2 bins: bin-00, bin-01`."""
    if not some:
        return f"no {what}"
    more = " …" if len(some) > MOST_NAMES else ""
    return f"{plural(len(some), what)}: {', '.join(map(shown, some[:MOST_NAMES]))}{more}"


# --- what publications offer -----------------------------------------------------------------------------------------


def offer_text(offers: Sequence[Offering]) -> str:
    """The publications that offered something: `publications 3 to 7, and since 9`."""
    if not offers:
        return "in no publication"
    if len(offers) == 1 and offers[0].last is None:
        return f"since publication {offers[0].first}"
    texts = [
        f"since {each.first}"
        if each.last is None
        else f"{each.first}"
        if each.last == each.first
        else f"{each.first} to {each.last}"
        for each in offers
    ]
    return f"publication{'s' * (len(texts) > 1 or ' to ' in texts[0])} {', '.join(texts)}"


def offers_json(offers: Sequence[Offering]) -> list[dict[str, int | None]]:
    """The same for machines: `last` is null while the newest publication has it."""
    return [{"first": each.first, "last": each.last} for each in offers]


# --- roles and keys --------------------------------------------------------------------------------------------------


def role_lines(answer: RoleAnswer) -> list[str]:
    """A version of a role for people."""
    file = answer.file
    offers = [] if answer.offer is None else [answer.offer]
    lines = [
        f"{click.style(f'{file.role}@{file.version}', bold=True)}  {len(file.data):,} bytes, expires {answer.expires}",
        f"    SHA-256 {file.sha256}, as the log says",
        f"    {offer_text(offers)}" + ("" if answer.event is None else f", by event {answer.event}"),
    ]
    for each in answer.signatures:
        lines.append(f"    signed by {each.keyid}")
        lines += [f"        {span_text(span)}" for span in each.spans]
    return lines


def role_json(answer: RoleAnswer) -> dict[str, Any]:
    """A version of a role for machines."""
    file = answer.file
    event = {} if answer.event is None else {"event": answer.event}
    return {
        "role": file.role,
        "version": file.version,
        "length": len(file.data),
        "sha256": file.sha256,
        "expires_at": answer.expires,
        "signatures": [
            {"keyid": each.keyid, "roles": [span_json(span) for span in each.spans]} for each in answer.signatures
        ],
        "offered": offers_json([] if answer.offer is None else [answer.offer]),
        **event,
    }


def span_text(span: KeySpan) -> str:
    """That a role listed a key: `timestamp since event 1, until event 9`."""
    role = "all bins" if span.role == ALL_BINS else span.role
    return f"{role} since event {span.since}" + ("" if span.until is None else f", until event {span.until}")


def span_json(span: KeySpan) -> dict[str, Any]:
    """The same for machines: `until` is null while it lasts."""
    return {"role": span.role, "since": span.since, "until": span.until}


def key_lines(answer: KeyAnswer) -> list[str]:
    """A key for people."""
    key = answer.key
    lines = [click.style(f"key {key.keyid}", bold=True), f"    {key.scheme}, {shown(key.public.strip())}"]
    lines += [f"    {span_text(span)}" for span in answer.spans]
    counts = [f"{count:,} of {'bins' if role == ALL_BINS else role}" for role, count in answer.signed.items()]
    return [*lines, f"    signed {'no version' if not counts else 'versions: ' + ', '.join(counts)}"]


def key_json(answer: KeyAnswer) -> dict[str, Any]:
    """A key for machines."""
    return {
        "keyid": answer.key.keyid,
        "scheme": answer.key.scheme,
        "public": answer.key.public,
        "roles": [span_json(span) for span in answer.spans],
        "versions": answer.signed,
    }


# --- files -----------------------------------------------------------------------------------------------------------


def standing_text(answer: Blame) -> str:
    """How a file stands: `listed, yanked: broken, publication since 2`."""
    standing = answer.standing
    yanked = "" if standing.yanked is None else f", yanked{': ' if standing.yanked else ''}{shown(standing.yanked)}"
    return f"{standing.state}{yanked}, {offer_text(answer.offered)}"


def standing_json(answer: Blame) -> dict[str, Any]:
    """The same for machines."""
    standing = answer.standing
    return {"state": standing.state, "yanked": standing.yanked, "offered": offers_json(answer.offered)}


# --- targets ---------------------------------------------------------------------------------------------------------


def target_lines(answer: TargetAnswer) -> list[str]:
    """A target for people."""
    of = "" if answer.project is None else f" of {shown(answer.project)}"
    lines = [
        click.style(shown(answer.path), bold=True),
        f"    {answer.kind}{of}, {answer.state}, {offer_text(answer.offers)}",
    ]
    if answer.sha256 is not None:
        lines.append(f"    SHA-256 {answer.sha256}, {answer.length:,} bytes")
    if answer.event is not None:
        lines.append(f"    by event {answer.event}" + ("" if answer.bin is None else f", in the bin {answer.bin}"))
    return lines


def target_json(answer: TargetAnswer) -> dict[str, Any]:
    """A target for machines."""
    optional = {
        "project": answer.project,
        "sha256": answer.sha256,
        "length": answer.length,
        "event": answer.event,
        "bin": answer.bin,
    }
    return {
        "target": answer.path,
        "kind": answer.kind,
        "state": answer.state,
        "offered": offers_json(answer.offers),
        **{name: value for name, value in optional.items() if value is not None},
    }
