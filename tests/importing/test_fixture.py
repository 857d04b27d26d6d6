"""Odd real entries: each comes through, with the attributes that the source shows."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from consumers.importing.drafting import event_time
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


def test_only_what_the_rules_refuse_is_legacy(index: Index, tmp_path: Path) -> None:
    """An upload that is said to be legacy is refused without it, and every other one was accepted so."""
    source = write_mirror(tmp_path / "mirror", recorded())
    *_, done = index.ask("import", source)
    uploads = [each["data"] for each in asyncio.run(records(index)) if each["type"] == "file.uploaded.v1"]
    assert len(uploads) == done["files"]
    older = {each["filename"] for each in uploads if each.get("legacy")}
    assert len(older) == done["legacy"]
    assert {"pytz-2004d.tar.gz", "Pillow-1.7.6.zip", "setuptools-0.6c10-1.src.rpm"} <= older
    assert not {"Pillow-1.7.6.tar.gz", "pillow-10.3.0.tar.gz", "astroid-2.0-py3-none-any.whl"} & older
