"""Proofs of what is published in a world: they hold, and say what clients see."""

import json
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from consumers.catalog.asking import Asked
from consumers.prove.proving import prove, prove_consistency
from ledger.catalog import tables
from ledger.catalog.database import Database
from ledger.logs import Log
from projections.log.proof_checking import CheckedProof, check_proof, read_proof
from projections.metadata.paths import MetadataPlace, is_json_page, is_page, read_path
from tests.fuzz.world import World
from tests.property.proven import encode

if TYPE_CHECKING:
    from consumers.prove.proving import Proven
    from tests.fuzz.oracle import View


MOST_TARGETS = 3
"""Each proof takes as long as ten records."""


async def check_proofs(world: World, database: Database, view: "View") -> None:
    """Some events and targets of the last publication, and that it begins as the first one."""
    if not view.number:
        return
    events = world.logs.events
    await events.open()
    try:
        await _check_proofs(events, database, view)
    finally:
        await events.close()


async def _check_proofs(events: Log, database: Database, view: "View") -> None:
    root = view.files["metadata/1.root.json"]
    size, shown = view.publications[-1][:2]
    asked = Asked(database, size, view.number, 0)
    for index in {size // 2, size - 1}:
        checked = again(await prove(asked, events, str(index), number=None, with_record=bool(index % 2)), root)
        assert checked.event is not None
        assert (checked.event.event, checked.published.number) == (index, view.number)
    for path, entry in listed(view):
        checked = again(await prove(asked, events, path, number=None, with_record=True), root)
        assert checked.target is not None
        assert (checked.target.length, checked.target.sha256) == (entry["length"], entry["hashes"]["sha256"])
        if is_json_page(path) and checked.event is not None:
            page = json.loads(view.files[f"targets/{path}"])
            assert checked.event.event == page["meta"]["_last-serial"] < shown
        elif not is_page(path):
            assert checked.event is not None
            assert checked.event.event < shown
    first = await database.run(first_number)
    checked = again(await prove_consistency(asked, events, first, view.number), root)
    assert checked.earlier is not None
    assert (checked.earlier.number, checked.published.number) == (first, view.number)


def again(proven: "Proven", root: bytes) -> CheckedProof:
    """What a proof says after it was a file."""
    checked = check_proof(read_proof(encode(proven.proof)), root)
    assert checked == proven.checked
    return checked


def listed(view: "View") -> Iterator[tuple[str, dict[str, Any]]]:
    """Some of what the bins of the last publication list: others in another history."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(view.reachable):
        place = read_path(path)
        if isinstance(place, MetadataPlace) and "-" in place.role:
            found |= json.loads(view.files[path])["signed"]["targets"]
    yield from Random(view.digest).sample(sorted(found.items()), min(MOST_TARGETS, len(found)))


def first_number(connection: Connection) -> int:
    """The number of the first publication."""
    number: int = connection.execute(select(func.min(tables.publications.c.number))).scalar_one()
    return number
