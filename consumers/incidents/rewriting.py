"""A ledger of its own without an incident: what the whole repository would be.

Its log has the records of the real one at the same indices, but for suspects, measures and holds, which are empty
there. Its keys are made for it and thrown away, and its ceremonies have the settings of the real ones at the same
indices. What an event expected is left out where the clean replay accepts it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from consumers.catalog.asking import Asked
from consumers.catalog.filling import load_authority, read_ledger
from consumers.ceremonies.development import DevelopmentKeys, ledger_created, make_plan, roles_signed, sign_plan
from consumers.context import Context
from consumers.incidents.replaying import CleanReplay, Suspected
from consumers.work.progress import Report, nobody
from ledger.catalog import writing
from ledger.catalog.database import Connection
from ledger.clock import SystemClock
from ledger.config import load_config
from ledger.logs import Log
from projections.log.merkle import record_digest
from projections.log.prefix import Ledger, restore_authority
from projections.roles.authority import Authority
from schemas import canonical, events
from schemas.codec import AUTHORITY_TYPES, Rejection, decode_event, encode_event

NOTHING = b"-"
"""What stands where a record was left out: no event."""
_BATCH = 1000


class _Ceremony(NamedTuple):
    """A ceremony of the real ledger: its index, and the roles in force with it."""

    event: int
    authority: Authority


async def write_clean_ledger(
    asked: Asked, log: Log, suspected: Suspected, made: CleanReplay, folder: Path, *, report: Report = nobody
) -> Context:
    """Make a ledger in a folder, ready for its first publication.

    Args:
        asked: the catalog.
        log: the log of events, open.
        suspected: the incident.
        made: the clean replay.
        folder: a new folder.
        report: called with the numbers of records that were written, and of all.

    Raises:
        LogError: a log cannot be read or written.
    """
    context = Context(folder, load_config(folder))
    folder.mkdir(parents=True, exist_ok=True)
    origin, ceremonies = await asked.database.run(_load)
    own = _own_records(DevelopmentKeys(folder / "keys"), origin, ceremonies)
    accepted = {
        index
        for each in made.projects
        for index, outcome in each.clean.outcomes.items()
        if outcome.verdict == "accepted"
    }
    touched = {index for each in made.projects for index in each.clean.outcomes}
    logs = await context.create_logs(1)
    try:
        at = 0
        while at < asked.size:
            values = (await log.read(at))[: asked.size - at]
            kept = [
                _kept(index, value, suspected, own, drops=index in accepted or index not in touched)
                for index, value in enumerate(values, at)
            ]
            for start in range(0, len(kept), _BATCH):
                await logs.events.append(kept[start : start + _BATCH])
            at += len(values)
            report(at, asked.size)
    finally:
        await logs.close()
    return context


def _load(connection: Connection) -> tuple[str, list[_Ceremony]]:
    indices = sorted({document.idx for document in writing.load_documents(connection)})
    origin = read_ledger(writing.load_position(connection)).origin
    return origin, [_Ceremony(index, load_authority(connection, index)) for index in indices]


def _own_records(keys: DevelopmentKeys, origin: str, ceremonies: Iterable[_Ceremony]) -> Mapping[int, bytes]:
    """The records of the ledger and of its ceremonies, by index."""
    keys.create()
    now, found = SystemClock().now(), dict[int, bytes]()
    ledger: Ledger | None = None
    before: list[tuple[int, Mapping[str, bytes]]] = []
    authority: Authority | None = None
    for index, real in ceremonies:
        settings = msgspec.structs.replace(real.settings, floor=1, time_from=msgspec.UNSET, holds_end=0)
        documents = sign_plan(keys, make_plan(keys, keys.online_keys(), real.layout, settings, now=now), authority)
        if not documents:
            continue
        if ledger is None:
            first = ledger_created(origin, documents, now)
            found[0] = encode_event(first)
            ledger = Ledger(record_digest(found[0]), origin, first.data.root_sha256)
        found[index] = encode_event(roles_signed(documents, now, "a ledger without an incident"))
        before.append((index, {role: canonical.encode(document) for role, document in documents.items()}))
        authority = restore_authority(ledger, before)
    return found


def _kept(index: int, value: bytes | None, suspected: Suspected, own: Mapping[int, bytes], *, drops: bool) -> bytes:
    if index in own:
        return own[index]
    if value is None or index == 0 or suspected.leaves_out(index):
        return NOTHING
    if b'"expects"' not in value and not any(kind.encode() in value for kind in AUTHORITY_TYPES):
        return value
    event = decode_event(value)
    if isinstance(event, Rejection) or not isinstance(event, events.ProjectEvent):
        return NOTHING if not isinstance(event, Rejection) and _is_authority(event) else value
    if not drops:
        return value
    plain = msgspec.json.decode(value)
    plain["data"].pop("expects", None)
    return canonical.encode(plain)


def _is_authority(event: events.BaseEvent) -> bool:
    return isinstance(event, events.LedgerCreated | events.RolesSigned | events.SigningHeld | events.SigningReleased)
