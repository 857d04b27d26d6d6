"""Served paths and their inverse: what is served under a path that a target or a role has is that target or role."""

import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from projections.metadata.paths import (
    HTML_LIST,
    HTML_PAGE,
    JSON_LIST,
    JSON_PAGE,
    PACKAGES,
    PAGES,
    TIMESTAMP,
    Companion,
    MetadataPlace,
    TargetPlace,
    companion_path,
    hashed_path,
    is_hashed_page,
    is_json_page,
    is_page,
    is_plain_page,
    is_reserved,
    metadata_path,
    package_target,
    page_target,
    plain_path,
    project_of_page,
    read_path,
)
from projections.roles.layout import Layout
from schemas.fields import FILENAME_PATTERN, PROJECT_PATTERN, TARGET_PATTERN

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
VERSIONS = st.one_of(st.integers(1, 20), st.integers(1, 2**53))
PROJECTS = st.from_regex(re.compile(PROJECT_PATTERN, re.ASCII))
FILENAMES = st.from_regex(re.compile(FILENAME_PATTERN, re.ASCII))
COMPANIONS = st.sampled_from(["metadata", "provenance"])
PAGE_NAMES = st.sampled_from([JSON_PAGE, HTML_PAGE])

_ODD = [
    JSON_PAGE,
    HTML_PAGE,
    "simple",
    "packages",
    "metadata",
    "targets",
    "timestamp.json",
    "1.root.json",
    "x.metadata",
]
_SEGMENTS = st.one_of(st.sampled_from(_ODD), st.from_regex(re.compile(r"[A-Za-z0-9_!$@~.-][A-Za-z0-9. _+-]{0,8}[a-z]")))
TARGETS = (
    st.lists(_SEGMENTS, min_size=1, max_size=8)
    .map("/".join)
    .filter(lambda target: re.match(TARGET_PATTERN, target) is not None)
)
"""Target paths of events; among them those of pages and files, which events may not name."""


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Layout, int]:
    """A layout and the index of one of its bins."""
    bits = draw(st.integers(1, 14))
    layout = Layout(bits, draw(st.sampled_from(["bin", "hashed", "a-b", "timestamp"])), draw(st.booleans()))
    return layout, draw(st.integers(0, layout.count - 1))


def path_of(place: MetadataPlace | TargetPlace) -> str:
    """Where something is served."""
    if isinstance(place, MetadataPlace):
        return TIMESTAMP if place.version is None else metadata_path(place.role, place.version)
    return plain_path(place.target) if place.sha256 is None else hashed_path(place.target, place.sha256)


# --- metadata ----------------------------------------------------------------------------------------------------


@given(st.sampled_from(["root", "timestamp", "snapshot", "targets", "bins"]), VERSIONS)
def test_metadata_of_a_role(role: str, version: int) -> None:
    path = metadata_path(role, version)
    assert path == f"metadata/{version}.{role}.json"
    place = read_path(path)
    assert place == MetadataPlace(role, version)
    assert isinstance(place, MetadataPlace)
    assert place.is_root == (role == "root")


@given(layouts(), VERSIONS)
def test_metadata_of_a_bin(drawn: tuple[Layout, int], version: int) -> None:
    layout, index = drawn
    place = read_path(metadata_path(layout.name(index), version))
    assert isinstance(place, MetadataPlace)
    assert (place.role, place.version, place.is_root) == (layout.name(index), version, False)
    assert layout.index(place.role) == index


def test_the_newest_timestamp_has_no_version() -> None:
    assert TIMESTAMP == "metadata/timestamp.json"
    assert read_path(TIMESTAMP) == MetadataPlace("timestamp", None)
    assert read_path("metadata/1.timestamp.json") == MetadataPlace("timestamp", 1)


@given(
    st.sampled_from(
        [
            *("root.json", "snapshot.json", "01.root.json", "-1.root.json", "+1.root.json", "1_0.root.json"),
            *("1.root", "1.root.json.gz", "1..json", "1.json", ".root.json", "1.root.JSON", " 1.root.json"),
            *("1.a/b.json", "a/1.root.json", "1.root.json/", "timestamp.json/", "\u0661.root.json", "1.root.json\n"),
        ]
    )
)
def test_what_is_no_metadata(name: str) -> None:
    assert read_path(f"metadata/{name}") is None


# --- targets -----------------------------------------------------------------------------------------------------


@given(TARGETS, DIGESTS)
def test_targets_under_both_names(target: str, digest: str) -> None:
    hashed = hashed_path(target, digest)
    assert read_path(hashed) == TargetPlace(target, digest)
    assert read_path(plain_path(target)) == TargetPlace(target, None)
    assert plain_path(target) == f"targets/{target}"
    folder, _, name = hashed.rpartition("/")
    assert f"{folder}/" == f"targets/{target}"[: -len(target.rpartition("/")[2])], "in the folder of the target"
    assert name == f"{digest}.{target.rpartition('/')[2]}"


@given(DIGESTS, FILENAMES, COMPANIONS, DIGESTS)
def test_distribution_files(blake: str, filename: str, companion: Companion, digest: str) -> None:
    target = package_target(blake, filename)
    assert re.match(TARGET_PATTERN, target)
    assert target.split("/") == ["packages", blake[:2], blake[2:4], blake[4:], filename]
    assert target.startswith(PACKAGES)
    assert is_reserved(target)
    assert not is_page(target)
    for place in (read_path(plain_path(target)), read_path(hashed_path(target, digest))):
        assert isinstance(place, TargetPlace)
        assert place.target == target
        assert {place.is_page, place.is_plain_page, place.is_hashed_page} == {False}
    beside = companion_path(target, companion)
    assert beside == f"{plain_path(target)}.{companion}"
    assert read_path(beside) == TargetPlace(f"{target}.{companion}", None)


@given(st.sets(st.tuples(DIGESTS, FILENAMES), min_size=2, max_size=4), st.sets(COMPANIONS))
def test_no_two_distribution_files_share_a_path(files: set[tuple[str, str]], companions: set[Companion]) -> None:
    targets = {package_target(*file) for file in files}
    assert len(targets) == len(files)
    beside = {companion_path(target, companion) for target in targets for companion in companions}
    assert len(beside) == len(targets) * len(companions)


@given(PROJECTS, PAGE_NAMES, DIGESTS)
def test_pages(project: str, name: str, digest: str) -> None:
    target = page_target(project, name)
    assert target == f"simple/{project}/{name}"
    assert target.startswith(PAGES)
    assert project_of_page(target) == project
    assert is_page(target)
    assert is_reserved(target)
    assert is_json_page(target) == (name == JSON_PAGE)
    assert page_target(project) == page_target(project, JSON_PAGE)
    plain, hashed = plain_path(target), hashed_path(target, digest)
    assert (is_plain_page(plain), is_hashed_page(plain)) == (True, False)
    assert (is_plain_page(hashed), is_hashed_page(hashed)) == (False, True)


@given(st.sampled_from([JSON_LIST, HTML_LIST]), DIGESTS)
def test_the_list_of_all_projects_is_a_page_of_none(target: str, digest: str) -> None:
    assert project_of_page(target) == ""
    assert is_page(target)
    assert is_reserved(target)
    assert is_json_page(target) == (target == JSON_LIST)
    assert is_plain_page(plain_path(target))
    assert is_hashed_page(hashed_path(target, digest))


@given(TARGETS, DIGESTS)
@example("simple", "0" * 64)
@example("packages", "0" * 64)
@example("simplest/index.json", "0" * 64)
@example("tools/simple/one/index.json", "0" * 64)
@example("simple/one/other.json", "0" * 64)
def test_what_is_reserved_is_what_begins_as_pages_and_files_do(target: str, digest: str) -> None:
    """Only there are pages: what is free is never taken for one, whatever it is called."""
    first, slash, _ = target.partition("/")
    assert is_reserved(target) == (bool(slash) and first in {"simple", "packages"})
    assert is_page(target) == (bool(slash) and first == "simple")
    named_so = target.rpartition("/")[2] in {"index.json", "index.html"}
    assert is_plain_page(plain_path(target)) == is_hashed_page(hashed_path(target, digest))
    assert is_plain_page(plain_path(target)) == (is_page(target) and named_so)
    assert is_json_page(target) == (is_page(target) and target.rpartition("/")[2] == "index.json")


# --- anything ----------------------------------------------------------------------------------------------------

_PIECES = st.one_of(
    st.sampled_from(
        [*_ODD, "", ".", "..", "0" * 64, f"{'a' * 64}.", f"{'a' * 64}.x", f"{'A' * 64}.x", "\n", "1.a.json"]
    ),
    st.integers(-3, 10**20).map(lambda number: f"{number}.root.json"),
    st.text(max_size=5),
)
GARBAGE: st.SearchStrategy[Any] = st.one_of(
    st.text(),
    st.tuples(st.sampled_from(["metadata", "targets", "x"]), st.lists(_PIECES)).map(
        lambda drawn: "/".join([drawn[0], *drawn[1]])
    ),
)


@given(GARBAGE)
@example("metadata")
@example("targets/")
@example("targets//")
@example(f"targets/{'0' * 64}.\n")
@example("targets/../metadata/1.root.json")
@example(f"metadata/{'1' * 5000}.root.json")
def test_whatever_is_asked_for_is_nothing_or_stands_exactly_there(path: str) -> None:
    place = read_path(path)
    if place is not None:
        assert path_of(place) == path
    assert is_plain_page(path) == (isinstance(place, TargetPlace) and place.is_plain_page)
    assert is_hashed_page(path) == (isinstance(place, TargetPlace) and place.is_hashed_page)
    assert not (is_plain_page(path) and is_hashed_page(path))
    assert place is not None or not path.startswith("targets/") or path == "targets/"


@given(GARBAGE, GARBAGE)
def test_no_two_paths_are_read_as_one_place(first: str, second: str) -> None:
    places = read_path(first), read_path(second)
    assert first == second or places[0] is None or places[0] != places[1]


# --- what cannot be told apart -----------------------------------------------------------------------------------


@given(DIGESTS, st.sampled_from(["", "tools/", "packages/00/00/0/"]), FILENAMES)
def test_a_plain_name_that_looks_hashed_is_read_as_hashed(digest: str, folder: str, name: str) -> None:
    """The documented ambiguity; no event can add a target or a file that is called so."""
    target = f"{folder}{digest}.{name}"
    assert read_path(plain_path(target)) == TargetPlace(f"{folder}{name}", digest)
    assert plain_path(target) == hashed_path(f"{folder}{name}", digest)
    assert re.match(TARGET_PATTERN, target) is None
    assert re.match(FILENAME_PATTERN, f"{digest}.{name}") is None
