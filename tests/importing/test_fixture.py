"""Odd real entries: each comes through, with the attributes that the source shows."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from consumers.cli.commands.change import read_target
from consumers.importing.drafting import event_time
from projections.index.fold import fold_events
from projections.index.upload_times import OWN_TIMES
from projections.log.reading import read_records
from projections.roles.authority import Terms
from tests.client.index import Index
from tests.importing.sources import beside, recorded, write_mirror


def served(index: Index, project: str) -> dict[str, Any]:
    """The page that the ledger serves."""
    found: dict[str, Any] = json.loads((index.public / f"targets/simple/{project}/index.json").read_bytes())
    return found


async def records(index: Index) -> list[dict[str, Any]]:
    """What stands on the log."""
    log = index.context.logs().events
    await log.open()
    try:
        return [json.loads(each or b"") for each in await log.read(0)]
    finally:
        await log.close()


def expected(entry: dict[str, Any], *, html: bool) -> dict[str, Any]:
    """What the ledger's page has to say of an entry. PEP 503 says neither size nor time."""
    metadata = entry.get("core-metadata", entry.get("data-dist-info-metadata"))
    digest = hashlib.sha256(beside(entry["filename"], "metadata")).hexdigest()
    return {
        "filename": entry["filename"],
        "hashes": {"sha256": entry["hashes"]["sha256"]},
        "requires-python": entry.get("requires-python") or None,
        "size": 4 if html else entry["size"],
        "upload-time": None if html else event_time(entry["upload-time"]),
        "yanked": entry.get("yanked") or False,
        "core-metadata": {"sha256": digest} if metadata else False,
        "provenance": bool(entry.get("provenance")),
        "place": entry["url"].partition("/packages/")[2].replace("%20", " "),
    }


def shown(entry: dict[str, Any], *, html: bool) -> dict[str, Any]:
    """The same of an entry of the ledger's page."""
    found = {name: entry[name] for name in ("filename", "hashes", "requires-python", "size", "yanked", "core-metadata")}
    return found | {
        "upload-time": None if html else entry["upload-time"],
        "provenance": bool(entry["provenance"]),
        "place": entry["url"].partition("/packages/")[2].replace("%20", " "),
    }


@pytest.mark.parametrize("html", [False, True])
def test_all_entries_come_through(index: Index, tmp_path: Path, *, html: bool) -> None:
    pages = recorded()
    assert sum(len(page["files"]) for page in pages.values()) > 120
    source = write_mirror(tmp_path / "mirror", pages, html=html)
    if html:  # the length of a file is asked for
        for page in pages.values():
            for entry in page["files"]:
                path = source / "packages" / expected(entry, html=True)["place"]
                path.write_bytes(b"1234")
    *_, done = index.ask("import", source)
    assert (done["projects"], done["refused"], done["missing"]) == (len(pages), 0, 0)
    assert done["files"] == sum(len(page["files"]) for page in pages.values())
    assert done["unlearnt"] == ({"upload-time": done["files"]} if html else {})
    index.publish()
    assert index.ask_list("rejected") == []
    for name, page in pages.items():
        ours = served(index, name)
        wanted = sorted((expected(each, html=html) for each in page["files"]), key=lambda each: each["filename"])
        assert [shown(each, html=html) for each in ours["files"]] == wanted
        status = page.get("project-status", {"status": "active"})
        assert ours["project-status"] == status
        if not html and status["status"] != "quarantined":
            assert set(page["versions"]) <= set(ours["versions"])
    *_, again = index.ask("import", source)
    assert (again["events"], again["refused"], again["missing"]) == (0, 0, 0)


FIRST = 2
"""The index of the first event behind those that create a ledger."""


def outcome_of_last(values: list[bytes]) -> str:
    """What the rules make of the last of these events, in a ledger that imports."""
    terms = [Terms(0, importing=True)]
    items = read_records(FIRST, values).routed
    folded = fold_events({}, {}, items, html=False, terms=terms, times=OWN_TIMES, renders=False)
    return {each.index: each.outcome.verdict for each in folded.judged}.get(FIRST + len(values) - 1, "accepted")


def test_what_is_legacy_is_what_the_rules_refuse_otherwise(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", recorded())
    *_, done = index.ask("import", source)
    by_project: dict[str, list[dict[str, Any]]] = {}
    for each in asyncio.run(records(index)):
        by_project.setdefault(each["subject"], []).append(each)
    older = set()
    for name in recorded():
        values = [json.dumps(each).encode() for each in by_project[name]]
        for place, each in enumerate(by_project[name]):
            assert outcome_of_last(values[: place + 1]) == "accepted"
            if each["data"].get("legacy"):
                older.add(each["data"]["filename"])
                without = {**each, "data": {**each["data"], "legacy": False}}
                assert outcome_of_last([*values[:place], json.dumps(without).encode()]) == "rejected"
    assert len(older) == done["legacy"]
    assert {"pytz-2004d.tar.gz", "Pillow-1.7.6.zip", "setuptools-0.6c10-1.src.rpm"} <= older
    assert not {"Pillow-1.7.6.tar.gz", "pillow-10.3.0.tar.gz", "astroid-2.0-py3-none-any.whl"} & older


def test_each_file_can_be_named_to_commands() -> None:
    """Old forms of names, too: what was imported can be yanked and removed by hand."""
    for project, page in recorded().items():
        for entry in page["files"]:
            assert read_target(entry["filename"]) == (project, None, entry["filename"])
    assert read_target("foo-dev.tar.gz") == ("foo", None, "foo-dev.tar.gz")
    assert read_target("zope.interface") == ("zope-interface", None, None)
