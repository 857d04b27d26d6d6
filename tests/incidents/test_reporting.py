"""Reports: what each section says of a story whose answer is known, the same bytes again, and nothing that runs."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.catalog.asking import Asked
from consumers.cli.report_page import html_page
from consumers.cli.report_text import markdown, terminal_lines
from consumers.incidents.advising import osv_records
from consumers.incidents.replaying import Suspected, replay
from consumers.incidents.reporting import IncidentReport, ReportSubject, make_report
from consumers.incidents.suspects import freeze
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import measures_of
from projections.incidents.applying import Making
from projections.incidents.selection import runs_of
from schemas.events import Hashes
from tests import factory
from tests.fuzz.budget import examples
from tests.fuzz.test_all_rules import TEAM
from tests.fuzz.test_answers import asking, publish, signed_by_many
from tests.fuzz.world import World
from tests.property.histories import freeing_histories, histories, narrow_histories

NAME = "theft"
TITLE = "A <b>stolen</b> token\x1b[31m"
MAKING = Making("nonce", NAME, "2030-01-01T00:00:00Z", "responder")


class Told(NamedTuple):
    """A story: its ledger, the suspects, and what it is asked."""

    world: World
    asked: Asked
    suspects: list[int]


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    """A thief adds a wheel to a release, takes a name before its owner, and begins a project; the wheel is removed."""
    world = World(tmp_path)
    make = world.make
    alice = make.having(actorid="alice", actorcredential="token:old")
    thief = make.having(actorid="alice", actorcredential="token:stolen")
    world.begin()
    async with world.signing() as signing:
        await signing.publish(alice.file_uploaded("alpha", "1.0"))
        wheel = thief.file_uploaded(
            "alpha", "1.0", filename="alpha-1.0-py3-none-any.whl", core_metadata_sha256="ab" * 32
        )
        await signing.publish(wheel, thief.project_created("typo"), seconds=3600)
        taken = thief.file_uploaded("alpha", "2.0")
        own = alice.file_uploaded("alpha", "2.0", hashes=Hashes(sha256="cd" * 32, blake2b_256="cd" * 32))
        await signing.publish(taken, thief.file_uploaded("typo", "1"), own, seconds=780)
        await signing.publish(
            alice.having(incident=NAME).file_removed("alpha", "alpha-1.0-py3-none-any.whl"), seconds=60
        )
        world.add(thief.target_added("tool"), thief.access("granted", "alice", account="mallory", role="owner"))
    records = [json.loads(value or b"{}") for value in world.events.values]
    suspects = [at for at, each in enumerate(records) if each.get("actorcredential") == "token:stolen"]
    async with asking(world) as asked:
        yield Told(world, asked, suspects)


def report_of(connection: Connection, asked: Asked, suspects: list[int]) -> IncidentReport:
    runs, measures = runs_of(suspects), frozenset(measures_of(connection, NAME, 0, asked.size))
    replayed = replay(connection, Suspected(NAME, frozenset(suspects), measures), asked.size, MAKING.event)
    subject = ReportSubject(NAME, 0, TITLE, 1, freeze(connection, runs), "ab" * 32)
    return make_report(connection, asked, subject, replayed)


async def test_what_it_says(told: Told) -> None:
    report = await told.asked.database.run(report_of, told.asked, told.suspects)
    assert report.head.count == len(told.suspects) == len(report.suspects)
    assert report.projects == ("alpha", "typo")
    (acted,) = report.acted
    assert (acted.credential, acted.suspects, acted.before, acted.within, acted.after) == ("token:stolen", 6, 0, 0, 0)
    windows = {each.path if each.filename is None else each.filename: each.windows for each in report.exposures}
    assert {name: some[0].reach for name, some in windows.items()} == {
        "alpha-1.0-py3-none-any.whl": "ended",
        "alpha-2.0.tar.gz": "offered",
        "typo-1.tar.gz": "offered",
        "tool": "pending",
    }
    (alpha, typo, tool) = report.differences
    assert [(flip.event.project, flip.live, flip.clean) for flip in alpha.flips] == [
        ("alpha", "rejected, filename-taken", "accepted")
    ]
    assert (typo.name, tool.kind, tool.name) == ("typo", "target", "tool")
    assert {(each.file, each.wanted) for each in report.burnt} == {
        ("alpha-1.0-py3-none-any.whl", False),
        ("alpha-2.0.tar.gz", True),
        ("typo-1.tar.gz", False),
    }
    assert report.freeable == factory.freeable_root([(each.sha256, each.project, each.file) for each in report.burnt])
    (wheel, *_) = report.purge
    assert len(wheel.served) == 4
    assert wheel.digests["metadata"] == "ab" * 32
    assert [each.what for each in report.measures] == ["removed alpha-1.0-py3-none-any.whl of alpha"]
    assert [each.in_force for each in report.keys] == [True]
    assert report.revocations == (
        f"revoke collaborator as owner to mallory (event {told.suspects[-1]}, a suspect, granted it)",
    )
    assert len(report.assumptions) == 7
    assert report.frozen_until is not None


async def test_the_same_bytes_again(told: Told) -> None:
    one, other = [await told.asked.database.run(report_of, told.asked, told.suspects) for _ in range(2)]
    assert msgspec.json.encode(one) == msgspec.json.encode(other)
    assert html_page(one) == html_page(other)
    assert list(markdown(one)) == list(markdown(other))


class _Parser(HTMLParser):
    """Collects the names of elements, and what would load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.bad: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.bad += [each for each in attrs if each[0].startswith("on") or each[0] in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.open
        while self.open.pop() != tag:
            pass


async def test_a_page_loads_and_runs_nothing(told: Told) -> None:
    report = await told.asked.database.run(report_of, told.asked, told.suspects)
    page = html_page(report)
    parser = _Parser()
    parser.feed(page)
    assert not parser.bad
    assert "b" not in parser.names
    assert not parser.names & {"script", "img", "link", "iframe", "object"}
    assert "<svg" in page
    assert "\x1b" not in page


async def test_text_of_the_log_stays_text(told: Told) -> None:
    report = await told.asked.database.run(report_of, told.asked, told.suspects)
    text = "\n".join(terminal_lines(report))
    assert "\x1b[31m" not in text.replace("\x1b[0m", "")
    assert "A \\<b\\>stolen" in next(markdown(report))
    assert "14 minutes" in text
    assert all("\n" not in line for line in markdown(report))


async def test_osv_names_what_is_affected_and_nothing_else(told: Told) -> None:
    report = await told.asked.database.run(report_of, told.asked, told.suspects)
    alpha, typo = osv_records(report)
    (affected,) = alpha["affected"]
    assert affected["versions"] == ["1.0", "2.0"]
    assert [each["filename"] for each in affected["database_specific"]["files"]] == [
        "alpha-1.0-py3-none-any.whl",
        "alpha-2.0.tar.gz",
    ]
    assert (typo["id"], typo["affected"][0]["package"]["ecosystem"]) == ("MAL-0000-theft-typo", "PyPI")


async def test_nothing_is_suspect(told: Told) -> None:
    report = await told.asked.database.run(report_of, told.asked, [])
    assert "No event is suspect" in "\n".join(terminal_lines(report))
    assert html_page(report)
    assert list(osv_records(report)) == []


# --- any history -----------------------------------------------------------------------------------------------------


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        await publish(world, signed_by_many(values, data), data)
        types = [json.loads(value or b"{}").get("type", "") for value in world.events.values]
        indices = [at for at, kind in enumerate(types) if not kind.startswith(("ledger.", "roles.", "signing."))]
        suspects = sorted(data.draw(st.sets(st.sampled_from(indices)))) if indices else []
        async with asking(world) as asked:
            one, other = [await asked.database.run(report_of, asked, suspects) for _ in range(2)]
        assert msgspec.json.encode(one) == msgspec.json.encode(other)
        page, text = html_page(one), "\n".join(markdown(one))
        for each in one.exposures:
            assert each.sha256 in page
            assert each.event in {told.event for told in one.suspects} or each.kind == "file"
        for burnt in one.burnt:
            assert f'"{burnt.file}"' in text
        assert len(list(terminal_lines(one))) > 10 or not suspects
        assert json.dumps(list(osv_records(one)))


@given(st.one_of(histories(25), narrow_histories(20), freeing_histories()), st.data())
@settings(max_examples=examples(10))
def test_a_report_is_made_of_any_history(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))
