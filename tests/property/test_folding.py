"""Folding: outcomes, pages and targets are those of docs/rules.md, however the log is cut and distributed."""

import json
from collections.abc import Sequence
from functools import partial
from html.parser import HTMLParser
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumers.render.bin_steps import by_bin
from projections.index.chunks import Aggregate
from projections.index.fold import Folded, fold_events
from projections.index.upload_times import Bracket, UploadTimes, pack_brackets
from projections.metadata.bins import Entries, StoredBin, fold_bin
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from tests import factory
from tests.factory import Make, Team, digest
from tests.fuzz.world import SMALL
from tests.property.histories import (
    FREEABLE,
    PROOFS,
    cuts,
    freeing_histories,
    grouping,
    histories,
    narrow_histories,
)
from tests.property.ledger import LIST_PATHS, Ledger, View, begin, check, targets_of
from tests.property.model import Model, target_of

FREEABLE_ROOT = factory.freeable_root(FREEABLE)
TEAM = SMALL.but(settings=Settings(ruleset=0, importing=True, project_list_seconds=0, freeable=(FREEABLE_ROOT,)))
HTML = TEAM.but(settings=msgspec.structs.replace(TEAM.settings, html_pages=True))


def begun(team: Team = TEAM) -> Ledger:
    """A ledger after the first publication, which covers the first ceremony."""
    return begin(factory.beginning(Make(), team))


def model_of(values: Sequence[bytes], first: int = 2) -> tuple[Model, dict[int, tuple[str, str]]]:
    model = Model(freeable=PROOFS)
    return model, {first + number: model.add(first + number, value) for number, value in enumerate(values)}


def state_of(view: View) -> dict[str, Any]:
    """All that a state remembers, without the borders of chunks and the list's own times."""
    state: dict[str, Any] = {}
    for key, aggregate in view.aggregates.items():
        if key.startswith("list:"):
            continue
        facts = [entry for chunk in aggregate.chunks if chunk.facts for entry in msgspec.msgpack.decode(chunk.facts)]
        body = b",".join(chunk.body for chunk in aggregate.chunks if chunk.body)
        html = b"".join(chunk.html for chunk in aggregate.chunks)
        if aggregate.header or facts or body or html:
            state[key] = aggregate.header, facts, body, html
    return state


def same_state(first: View, second: View) -> None:
    assert first.outcomes == second.outcomes
    assert first.seen == second.seen
    pages, others = first.pages, second.pages
    assert {path: page for path, page in pages.items() if path not in LIST_PATHS} == {
        path: page for path, page in others.items() if path not in LIST_PATHS
    }
    # Which claim rendered the list is in the list; which projects it names is not a matter of borders.
    assert names_in_list(first) == names_in_list(second)
    assert state_of(first) == state_of(second)
    assert first.withheld == second.withheld
    first_targets, second_targets = targets_of(first), targets_of(second)
    assert {path: each for path, each in first_targets.items() if path not in LIST_PATHS} == {
        path: each for path, each in second_targets.items() if path not in LIST_PATHS
    }
    assert set(first_targets) == set(second_targets)


def names_in_list(view: View) -> Any:
    return json.loads(view.pages["simple/index.json"])["projects"]


@given(histories(), st.data())
@settings(max_examples=200)
def test_outcomes_pages_and_targets(values: list[bytes], data: st.DataObject) -> None:
    """Whether an event is accepted, and what pages and targets show, is what docs/rules.md says."""
    store = begun()
    for piece in data.draw(cuts(values)):
        store.publish(piece)
    model, verdicts = model_of(values)
    assert {
        index: (outcome.verdict, outcome.code) for index, outcome in store.outcomes.items() if index > 1
    } == verdicts
    check(store, model)


@given(narrow_histories(), st.data())
@settings(max_examples=200)
def test_one_project_from_publication_to_publication(values: list[bytes], data: st.DataObject) -> None:
    """After every publication, page and targets are what docs/rules.md says."""
    store, model = begun(), Model(freeable=PROOFS)
    for piece in data.draw(st.sampled_from([[[value] for value in values], data.draw(cuts(values))])):
        start = store.prefix.size
        store.publish(piece)
        for index, value in enumerate(piece, start):
            assert store.outcomes[index][:2] == model.add(index, value)
        check(store, model)


@given(freeing_histories(), st.data())
@settings(max_examples=200)
def test_a_name_that_is_freed_and_used_again(values: list[bytes], data: st.DataObject) -> None:
    """Removed, freed and uploaded anew in one publication, or in several: all is as the rules say."""
    once, pieces, model = begun(), begun(), Model(freeable=PROOFS)
    once.publish(values)
    for piece in data.draw(st.sampled_from([[[value] for value in values], data.draw(cuts(values))])):
        start = pieces.prefix.size
        pieces.publish(piece)
        for index, value in enumerate(piece, start):
            assert pieces.outcomes[index][:2] == model.add(index, value)
        check(pieces, model)
    same_state(once, pieces)


@given(histories(), st.data())
def test_borders_of_batches_shape_nothing(values: list[bytes], data: st.DataObject) -> None:
    """The borders of batches shape nothing but versions (and the times at which the list is rendered)."""
    once, pieces = begun(), begun()
    once.publish(values)
    for piece in data.draw(cuts(values)):
        pieces.publish(piece)
    same_state(once, pieces)


AT_ANY_TIME = UploadTimes(pack_brackets([Bracket(2**53, "", "9999-12-31T23:59:59Z")]))


def contents(some: Sequence[Folded]) -> dict[str, list[str]]:
    """All that folding gave, in no order."""
    names = Folded.__struct_fields__
    return {name: sorted(repr(each) for folded in some for each in getattr(folded, name)) for name in names}


def check_any_order(pieces: Sequence[Sequence[bytes]], data: st.DataObject) -> None:
    """Fold batches in groups, and bins with their changes in any order: all is as in one group and in order."""
    prefix = factory.ready_prefix(Make(), TEAM)
    states: dict[str, Aggregate] = {}
    seen: dict[tuple[str, str], str] = {}
    bins: dict[int, StoredBin] = {}
    for piece in pieces:
        prefix, extension = prefix.extend(piece)
        authority = factory.authority_of(prefix)
        fold = partial(fold_events, states, seen, html=True, terms=authority.terms, times=AT_ANY_TIME, tells=True)
        whole = fold(extension.routed)
        assert contents([fold(group) for group in grouping(data)(extension.routed)]) == contents([whole])
        for change in whole.changes:
            states[change.key] = change.of(states.get(change.key, Aggregate(change.key)))
        seen.update({(each.key, each.id): each.digest for each in whole.seen})
        for index, changes in by_bin(authority.layout, whole.targets).items():
            stored = bins.get(index, StoredBin())
            folded, shuffled = (fold_bin(stored, some) for some in (changes, data.draw(st.permutations(changes))))
            assert b",".join(shuffled.targets) == b",".join(folded.targets)
            assert (shuffled.differs, shuffled.header) == (folded.differs, folded.header)
            assert sorted(shuffled.withholdings) == sorted(folded.withholdings)
            assert folded.header != stored.header, "a header that is stored anew is another one"
            targets = b",".join(folded.targets)
            header = stored.header if folded.header is None else folded.header
            bins[index] = StoredBin(header, Entries(b"{%s}" % targets, 1, 1 + len(targets)))


@given(histories(), st.data())
def test_projects_fold_in_any_order_and_side_by_side(values: list[bytes], data: st.DataObject) -> None:
    """A batch may be cut into groups at will, as long as one aggregate's events stay together and in order."""
    check_any_order(data.draw(cuts(values)), data)


@given(histories(20), st.data())
def test_records_that_are_no_events_change_nothing(values: list[bytes], data: st.DataObject) -> None:
    """Bad records never stop the ledger; they have no effect."""
    junk: list[bytes | None] = [None, b"", b"{", b"[" * 40, b'{"type":"x"}', b'{"a":1,"a":1}', b"\xff" * 70_000]
    mixed: list[bytes | None] = list(values)
    for each in data.draw(st.lists(st.sampled_from(junk), max_size=10)):
        mixed.insert(data.draw(st.integers(0, len(mixed))), each)
    store = begun()
    for piece in data.draw(cuts(mixed)):
        store.publish(piece)
    model = Model(freeable=PROOFS)
    for index, value in enumerate(mixed, 2):
        if value in junk:
            assert store.outcomes[index].verdict == "rejected"
        elif value is not None:
            assert store.outcomes[index][:2] == model.add(index, value)
    check(store, model)


@given(histories(30), st.data())
def test_settings_of_root_render_all_pages_anew(values: list[bytes], data: st.DataObject) -> None:
    """The PEP 503 page is a target too where root says so: where the roles at the publication's size say so."""
    make = Make()
    store = begin(factory.beginning(make, TEAM))
    shown: list[bytes | None] = list(values)
    team = TEAM
    for piece in data.draw(cuts(shown)):
        team = TEAM if team is HTML else HTML
        ceremony = factory.ceremony(team, store.prefix.authority, TEAM)
        where = data.draw(st.integers(0, len(piece)))
        store.publish([*piece[:where], *factory.encode([make.roles_signed(ceremony)]), *piece[where:]])
        assert store.outcomes[store.prefix.size - len(piece) - 1 + where].verdict == "accepted"
        html = {path for path in store.pages if path.endswith(".html")}
        json_pages = {path for path in store.pages if path.endswith(".json")}
        assert {path.replace(".html", ".json") for path in html} == (json_pages if team is HTML else set())
        for path in html - LIST_PATHS:
            same_page(store.pages[path], store.pages[path.replace(".html", ".json")])
        model = Model(freeable=PROOFS)
        for index, value in sorted(_by_index(store, values).items()):
            assert store.outcomes[index][:2] == model.add(index, value)
        check(store, model)


def _by_index(store: Ledger, values: list[bytes]) -> dict[int, bytes]:
    """The values by index; the ceremonies between them are left out."""
    ceremonies = {0, *store.ceremonies}
    indices = [index for index in range(store.prefix.size) if index not in ceremonies]
    return dict(zip(indices, values, strict=False))


class Links(HTMLParser):
    """The links of a PEP 503 page, and what its head says."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.meta: dict[str, str | None] = {}
        self._open = False
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs)
        self._open = tag == "a"
        if tag == "a":
            self.links.append(attributes)
        elif "name" in attributes:
            self.meta[str(attributes["name"])] = attributes["content"]

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.append(data)
        self._open = False


def same_page(html: bytes, json_page: bytes) -> None:
    """Both pages of a project say the same."""
    links, page = Links(html), json.loads(json_page)
    status = page["project-status"]
    assert links.meta.get("pypi:project-status") == status["status"]
    assert links.meta.get("pypi:project-status-reason") == status.get("reason")
    assert links.meta["pypi:repository-version"] == page["meta"]["api-version"]
    assert html.endswith(b"<!--SERIAL %d-->\n" % page["meta"]["_last-serial"])
    assert links.texts == [file["filename"] for file in page["files"]]
    for link, file in zip(links.links, page["files"], strict=True):
        metadata = file["core-metadata"]
        yanked = file["yanked"]
        assert link == {
            "href": f"{file['url']}#sha256={file['hashes']['sha256']}",
            **({"data-requires-python": file["requires-python"]} if file["requires-python"] else {}),
            **({"data-core-metadata": f"sha256={metadata['sha256']}"} if metadata else {}),
            **({"data-dist-info-metadata": f"sha256={metadata['sha256']}"} if metadata else {}),
            **({"data-provenance": file["provenance"]} if file["provenance"] else {}),
            **({} if yanked is False else {"data-yanked": "" if yanked is True else yanked}),
        }


@pytest.mark.parametrize("text", ["<b>", '"', "'", "&amp;", "&", '" onload="x', "-->", "é\u2028", "\x00"])
def test_text_is_escaped_in_both_pages(text: str) -> None:
    make, store, model = Make(), begun(HTML), Model(freeable=PROOFS)
    python = text if text.isascii() and text.isprintable() else None
    values = factory.encode(
        [
            make.file_uploaded("a", requires_python=python),
            make.file_yanked("a", "a-1.0.tar.gz", text),
            make.project_status_changed("a", "deprecated", text),
        ]
    )
    store.publish(values)
    for index, value in enumerate(values, 2):
        assert store.outcomes[index][:2] == model.add(index, value) == ("accepted", "")
    same_page(store.pages["simple/a/index.html"], store.pages["simple/a/index.json"])
    check(store, model)


@given(histories(30), st.data())
def test_each_event_is_judged_by_the_root_at_its_index(values: list[bytes], data: st.DataObject) -> None:
    """Roots begin and end an import, and allow files to be freed or not; how the log is cut changes nothing."""
    make, mixed, model = Make(), list[bytes](), Model(freeable=PROOFS)
    prefix, team = factory.ready_prefix(make, TEAM), TEAM
    for piece in data.draw(cuts(values)):
        for value in piece:
            model.add(2 + len(mixed), value)
            mixed.append(value)
        importing = not model.importing
        freeable = (FREEABLE_ROOT,) if importing else ()
        team = team.but(settings=msgspec.structs.replace(team.settings, importing=importing, freeable=freeable))
        ceremony = factory.encode([make.roles_signed(factory.ceremony(team, prefix.authority, TEAM))])
        prefix, _ = prefix.extend(ceremony)
        mixed += ceremony
        model.importing, model.freeable = importing, PROOFS if importing else {}
    # All at one time: else the borders would shape upload times.
    once, pieces = begun(), begun()
    once.publish(mixed, seconds=1000)
    for piece in data.draw(cuts(mixed)):
        pieces.publish(piece, seconds=1000)
    same_state(once, pieces)
    check(once, model)
    check_any_order(data.draw(cuts(mixed)), data)


@given(histories(30), st.lists(st.integers(1, 6), min_size=1, max_size=3), st.data())
def test_another_number_of_bins_holds_the_same_targets(
    values: list[bytes], bits: list[int], data: st.DataObject
) -> None:
    """Re-binning moves targets, also those with several holders, and changes none."""
    make, model = Make(), Model(freeable=PROOFS)
    store = begin(factory.beginning(make, TEAM))
    for piece, number in zip(data.draw(cuts(values)), bits * 10, strict=False):
        team = TEAM.but(layout=Layout(number))
        ceremony = factory.ceremony(team, store.prefix.authority, TEAM)
        start = store.prefix.size
        signed = store.publish(factory.encode([make.roles_signed(ceremony)]) + piece)
        assert store.outcomes[start].verdict == "accepted"
        for index, value in enumerate(piece, start + 1):
            assert store.outcomes[index][:2] == model.add(index, value)
        layout = store.authority.layout
        assert layout.bits == number
        assert signed <= {layout.name(index) for index in range(layout.count)}
        check(store, model)


# --- paths that several projects hold ----------------------------------------------------------------------------

SHARED = "a-b-1.tar.gz"
HOLDERS = ["a", "a-b", "a-b-1"]
"""Projects that can have such a file by its old name. By its new name it is a file of `a-b`."""


def claim_of(make: Make, project: str, sha256: str, *, legacy: bool) -> bytes:
    hashes = {"sha256": digest(sha256), "blake2b_256": digest("shared")}
    event = make.file_uploaded(project, "1", filename=SHARED, hashes=msgspec.convert(hashes, HASHES), legacy=legacy)
    return factory.encode([event])[0]


HASHES = type(Make().file_uploaded("a").data.hashes)
SHARED_PATH = f"packages/{digest('shared')[:2]}/{digest('shared')[2:4]}/{digest('shared')[4:]}/{SHARED}"


@st.composite
def shared_histories(draw: st.DrawFn) -> list[bytes]:
    """Projects hold one path with claims that differ or not, and let go and take it again."""
    make = Make()
    values, sha256 = [], {}
    for project in draw(st.permutations(HOLDERS)):
        content = draw(st.sampled_from(["x", "y"]))
        sha256[project] = digest(content)
        values.append(claim_of(make, project, content, legacy=project != "a-b" or draw(st.booleans())))
    for _ in range(draw(st.integers(0, 12))):
        project = draw(st.sampled_from(HOLDERS))
        made = [
            make.file_removed(project, SHARED, withhold=draw(st.booleans())),
            make.file_restored(project, SHARED, sha256[project]),
            make.release_quarantined(project, "1"),
            make.release_quarantine_cleared(project, "1"),
            make.project_status_changed(project, "quarantined"),
            make.project_status_changed(project, "active"),
            make.project_removed(project, withhold=draw(st.booleans())),
            make.project_created(project),
        ]
        values += factory.encode([draw(st.sampled_from(made))])
    return values


@given(shared_histories(), st.data())
@settings(max_examples=200)
def test_a_path_of_several_projects(values: list[bytes], data: st.DataObject) -> None:
    """Several projects can hold one path, even with different claims; the target goes when the last lets go."""
    once, pieces, cut = begun(), begun(), data.draw(cuts(values))
    once.publish(values)
    for piece in cut:
        pieces.publish(piece)
    same_state(once, pieces)
    model, _ = model_of(values)
    check(pieces, model)
    check_any_order(cut, data)


@given(shared_histories(), st.data())
def test_holders_move_with_their_target(values: list[bytes], data: st.DataObject) -> None:
    """Re-binning moves targets with all their holders: what one of them does afterwards is as it would have been."""
    make, store, model = Make(), begun(), Model(freeable=PROOFS)
    for bits, piece in enumerate(data.draw(cuts(values)), 3):
        ceremony = factory.ceremony(TEAM.but(layout=Layout(bits)), store.prefix.authority, TEAM)
        start = store.prefix.size
        store.publish(factory.encode([make.roles_signed(ceremony)]) + piece)
        for index, value in enumerate(piece, start + 1):
            assert store.outcomes[index][:2] == model.add(index, value)
        check(store, model)


def test_what_was_withheld_is_lifted_while_its_bin_is_made_anew() -> None:
    make, store = Make(), begun()
    store.publish([claim_of(make, "a", "a", legacy=True)])
    store.publish(factory.encode([make.file_removed("a", SHARED, withhold=True)]))
    assert store.withheld
    ceremony = factory.ceremony(TEAM.but(layout=Layout(5)), store.prefix.authority, TEAM)
    store.publish(factory.encode([make.roles_signed(ceremony), make.file_restored("a", SHARED, digest("a"))]))
    assert store.withheld == set()


@pytest.mark.parametrize("together", [True, False], ids=["one publication", "one each"])
@pytest.mark.parametrize("order", list(permutations(HOLDERS)), ids=" ".join)
def test_a_file_whose_name_says_whose_it_is_is_believed_first(order: tuple[str, ...], together: bool) -> None:
    """Else whoever has an old name could take the place of another's file."""
    store, make = begun(), Make()
    values = [claim_of(make, project, project, legacy=project != "a-b") for project in order]
    for piece in [values] if together else [[value] for value in values]:
        store.publish(piece)
    # The others hold the path in the order of their uploads.
    for project in ["a-b", *(project for project in order if project != "a-b")]:
        assert targets_of(store)[SHARED_PATH][1] == digest(project)
        store.publish(factory.encode([make.project_removed(project)]))
    assert SHARED_PATH not in targets_of(store)


def test_who_lets_go_and_takes_it_again_has_its_old_rank() -> None:
    store, make = begun(), Make()
    store.publish([claim_of(make, project, project, legacy=True) for project in HOLDERS])
    store.publish(factory.encode([make.file_removed("a", SHARED)]))
    assert targets_of(store)[SHARED_PATH][1] == digest("a-b")
    store.publish(factory.encode([make.file_restored("a", SHARED, digest("a"))]))
    assert targets_of(store)[SHARED_PATH][1] == digest("a")


# --- many files --------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=20)
def test_a_project_of_many_files(data: st.DataObject) -> None:
    """Chunks are bounded and their borders never shape bytes: a page of many files is the page of the model."""
    make, values = Make(), []
    numbers = data.draw(st.permutations(range(200)))
    for number in numbers:
        values += factory.encode(
            [make.file_uploaded("a", f"{number % 5}", filename=f"a-{number % 5}.{number}.zip", legacy=True)]
        )
    for _ in range(data.draw(st.integers(0, 40))):
        filename = f"a-{(number := data.draw(st.integers(0, 199))) % 5}.{number}.zip"
        version = str(number % 5)
        made = [
            make.file_removed("a", filename),
            make.file_yanked("a", filename, version),
            make.release_yanked("a", version, filename),
            make.release_quarantined("a", version),
            make.release_quarantine_cleared("a", version),
            make.release_removed("a", version),
        ]
        values += factory.encode([data.draw(st.sampled_from(made))])
    store = begun()
    for piece in data.draw(cuts(values)):
        store.publish(piece)
    model, _ = model_of(values)
    check(store, model)
    chunks = store.aggregates["project:a"].chunks
    assert [chunk.lower for chunk in chunks] == sorted({chunk.lower for chunk in chunks})
    assert chunks[0].lower == ""
    assert all(len(msgspec.msgpack.decode(chunk.facts or b"")) <= 64 for chunk in chunks)


# --- the list of all projects ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(0, 2_000), st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=4)),
        max_size=12,
    ),
    st.sampled_from([0, 1_000, 3_600]),
)
@example([(0, [("a", True)]), (999, [("a", False)]), (1, [("b", True)])], 1_000)
def test_the_list_is_rendered_at_most_so_often(
    publications: list[tuple[int, list[tuple[str, bool]]]], every: int
) -> None:
    """It lists every project that exists; it is rendered again when it changed, and at least `project_list_seconds`
    (root's setting) passed between the claims.
    """
    team = SMALL.but(settings=Settings(ruleset=0, project_list_seconds=every))
    make = Make()
    store = begin(factory.beginning(make, team), seconds=0)
    existing: set[str] = set()
    shown: list[str] = []
    rendered_at, now, serial = 0, 0, 1
    for seconds, acts in publications:
        now += seconds
        made = [make.project_created(name) if exists else make.project_removed(name) for name, exists in acts]
        for name, exists in acts:
            (existing.add if exists else existing.discard)(name)
        before = store.pages["simple/index.json"]
        store.publish(factory.encode(made) or [b"nothing"], seconds=now)
        if sorted(existing) != shown and now - rendered_at >= every:
            shown, rendered_at, serial = sorted(existing), now, store.prefix.size - 1
        else:
            assert store.pages["simple/index.json"] == before
        page = json.loads(store.pages["simple/index.json"])
        assert [project["name"] for project in page["projects"]] == shown
        assert page["meta"]["_last-serial"] == serial
        assert targets_of(store)["simple/index.json"] == target_of(store.pages["simple/index.json"])


def test_many_projects_are_listed_in_order() -> None:
    make, store = Make(), begun(HTML)
    names = [f"p{number * 7919 % 500}" for number in range(500)]
    for start in range(0, 500, 100):
        store.publish(factory.encode(make.project_created(name) for name in names[start : start + 100]))
    assert [project["name"] for project in names_in_list(store)] == sorted(names)
    html = Links(store.pages["simple/index.html"])
    assert html.texts == sorted(names)
    assert [link["href"] for link in html.links] == [f"{name}/" for name in sorted(names)]
    store.publish(factory.encode(make.project_removed(name) for name in names[:450]))
    assert [project["name"] for project in names_in_list(store)] == sorted(names[450:])


@pytest.mark.parametrize("team", [TEAM, HTML], ids=["same pages", "HTML from now on"])
def test_a_project_without_an_accepted_event_leaves_nothing_behind(team: Team) -> None:
    make, store = Make(), begun()
    rejected = factory.encode([make.project_removed("a"), make.file_uploaded("a", filename="b-1.zip")])
    ceremony = factory.ceremony(team, store.prefix.authority, TEAM, everything=True)
    store.publish([*rejected, *factory.encode([make.roles_signed(ceremony)])])
    assert "project:a" not in store.aggregates
    assert set(store.pages) == (LIST_PATHS if team is HTML else {"simple/index.json"})


def test_a_publication_signs_the_bins_that_differ() -> None:
    make, store = Make(), begun()
    upload, yank = make.file_uploaded("a"), make.file_yanked("a", "a-1.0.tar.gz")
    assert len(store.publish(factory.encode([upload]))) <= 3
    layout = store.authority.layout
    page_bin = layout.name(layout.index_of_target("simple/a/index.json"))
    assert store.publish(factory.encode([yank])) == {page_bin}
    assert store.publish(factory.encode([yank])) == set()
    target = make.target_added("t")
    removed = make.target_removed("t")
    assert store.publish(factory.encode([target, removed])) == set()
