"""Making a catalog anew beside the old one, and checking one against the logs."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from consumers.catalog.asking import open_filling
from consumers.catalog.filling import Filling
from consumers.catalog.remaking import SNAPSHOT, TIMESTAMP, Remaking, RoleFile
from consumers.context import Context
from consumers.work.progress import Report
from ledger.catalog import checking
from ledger.catalog.database import Connection, Database, discard, replace
from ledger.catalog.publication_rows import load_publication, signed_by
from ledger.logs import Log, Logs
from projections.log.merkle import record_digest
from projections.metadata.repository import pack_digest
from schemas.codec import decode_publication_record
from schemas.publications import Publication, Record

SAMPLED_EVENTS, SAMPLED_PUBLICATIONS, SAMPLED_ROLES = 1_000, 20, 10
"""How much is looked at without `full`: events, publications, and versions of roles of each publication."""


class Renewed(NamedTuple):
    """A catalog that was made anew."""

    size: int
    number: int


async def rebuild_catalog(context: Context, report: Report) -> Renewed:
    """Make the catalog of a ledger's folder anew, and put it in the place of the old one at the end.

    Until then, the old one answers. A run that was killed is begun anew.

    Raises:
        InUseError: another process makes it anew.
        LogError, CatalogError: see `Filling.start`.
    """
    database = context.catalog(writes=True)
    new = database.beside()
    async with new.reserved():
        await discard(new)
        async with open_filling(context, new) as filling:
            await _fill(filling, report)
            made = Renewed(filling.size, filling.number)
        await replace(database, new)
    return made


class CatalogCheck(NamedTuple):
    """How much was compared, and what differs."""

    events: int
    publications: int
    versions: int
    problems: list[str]


async def check_catalog(database: Database, context: Context, *, full: bool, report: Report) -> CatalogCheck:
    """Compare an open catalog that is up to date with the logs.

    Without `full`, random records are compared with what the catalog says of them, and random versions of roles are
    re-made and compared with the digests on the log: a bin lists all that its targets are. With `full`, both logs are
    folded once more, into a catalog beside, and all rows are compared.

    Raises:
        InUseError: another process compares all rows, too.
    """
    logs = context.logs()
    for log in logs:
        await log.open()
    try:
        checked = await _sample(database, logs)
    finally:
        await logs.close()
    if not full:
        return checked
    beside = database.beside("check")  # not where somebody may be making it anew
    async with beside.reserved():
        await discard(beside)
        try:
            async with open_filling(context, beside) as filling:
                await _fill(filling, report)
                problems = [each async for each in checking.differences(database, beside)]
        finally:
            await discard(beside)
    return checked._replace(problems=[*checked.problems, *problems])


async def _fill(filling: Filling, report: Report) -> None:
    total = await filling.count_events()
    while await filling.step():
        report(filling.size, max(total, filling.size))


async def _sample(database: Database, logs: Logs) -> CatalogCheck:
    chance = random.SystemRandom()
    size, numbers = await database.run(checking.extent)
    indices = sorted(chance.sample(range(size), min(size, SAMPLED_EVENTS)))
    chosen = sorted({*chance.sample(numbers, min(len(numbers), SAMPLED_PUBLICATIONS)), *numbers[-1:]})
    problems = await _compare_events(database, logs.events, indices)
    versions = 0
    for number in chosen:
        compared, found = await _compare_publication(database, logs.publications, number, chance)
        versions += compared
        problems += found
    return CatalogCheck(len(indices), len(chosen), versions, problems)


async def _compare_events(database: Database, events: Log, indices: Sequence[int]) -> list[str]:
    known = await database.run(checking.event_digests, indices)
    start, values, problems = 0, list[bytes | None](), []
    for index in indices:
        if not start <= index < start + len(values):
            start, values = index, await events.read(index)
        found = record_digest(values[index - start]) if values else "no record"
        if known.get(index) != found:
            problems.append(f"event {index}: the log has {found}, and the catalog {known.get(index, 'nothing')}")
    return problems


async def _compare_publication(
    database: Database, publications: Log, number: int, chance: random.Random
) -> tuple[int, list[str]]:
    """Compare one publication with its record; how many versions of roles were re-made, and what is wrong."""
    row = await database.run(load_publication, number)
    if row is None:
        raise AssertionError("the publication was listed")
    values = await publications.read(row.record)
    record = decode_publication_record(values[0]) if values else None
    if not isinstance(record, Record) or not isinstance(record.signed, Publication):
        return 0, [f"publication {number}: record {row.record} of the log is none"]
    if record_digest(values[0]) != row.digest.hex():
        return 0, [f"publication {number}: record {row.record} of the log is another one"]
    signed = {name: digest for name, digest, _ in record.signed.roles} | {SNAPSHOT: record.signed.snapshot[0]}
    problems = []
    if sorted({*signed, TIMESTAMP}) != await database.run(signed_by, number):
        problems.append(f"publication {number}: the catalog has other versions of roles")
    chosen = sorted({*chance.sample(sorted(signed), min(len(signed), SAMPLED_ROLES)), SNAPSHOT})
    for role in chosen:
        file = await database.run(_role_file, role, number)
        if file is None or pack_digest(file.data) != signed[role]:
            problems.append(f"publication {number}: {role} is not re-made as the log says")
    return len(chosen), problems


def _role_file(connection: Connection, role: str, number: int) -> RoleFile | None:
    try:
        return Remaking(connection).role_file(role, number)
    except (LookupError, ValueError, AssertionError):  # rows that do not fit each other
        return None
