"""Pages of another index that are hostile: reading ends soon, and gives plain values or one error."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.importing.drafting import draft_page, event_time
from consumers.importing.file_versions import Versions
from consumers.importing.ledger_side import ProjectOfLedger
from ledger.simple.files_source import project_in
from ledger.simple.html_pages import read_html_list, read_html_page
from ledger.simple.json_pages import read_json_list, read_json_page
from ledger.simple.source_pages import SourcePage, SourcePageError
from projections.index.pages import ProjectHeader
from schemas.fields import is_event_time
from tests.importing.sources import html_of, recorded

URL = "https://index.example.org/simple/six/"
MEMBERS = [
    *("filename", "url", "hashes", "size", "upload-time", "requires-python", "yanked", "core-metadata"),
    *("data-dist-info-metadata", "provenance"),
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
urls = st.text(max_size=40) | st.sampled_from(
    ["http://[", "//", "file:///etc/passwd", "javascript:x", "a/../../b", "?", "#"]
)
entries = st.dictionaries(st.sampled_from(MEMBERS), anything | urls, max_size=10)
usual = st.sampled_from([entry for page in recorded().values() for entry in page["files"]])


def mutated(entry: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**entry, **changes}


pages = st.fixed_dictionaries(
    {
        "meta": st.just({"api-version": "1.0"}) | anything,
        "name": st.just("six") | anything,
        "files": st.lists(entries | usual | st.builds(mutated, usual, entries) | anything, max_size=6) | anything,
    },
    optional={"versions": st.lists(st.text(max_size=8) | anything, max_size=4) | anything, "project-status": anything},
)


def check(page: SourcePage) -> None:
    """What every reader promises of a page, and everything that is made of it."""
    names = [each.filename for each in page.files]
    assert len(set(names)) == len(names)
    for each in page.files:
        assert all(isinstance(text, str) for text in (each.filename, each.url, *each.hashes, *each.hashes.values()))
        assert each.size is None or each.size >= 0
        assert each.sha256 is None or len(each.sha256) == 64
        assert each.blake2b_256 is None or len(each.blake2b_256) == 64
        assert "#" not in each.url
    draft = draft_page(page, ProjectOfLedger("six", ProjectHeader(), {}, {}, {}))
    assert len(draft.uploads) == len(page.files)
    assert all(each.uploaded_at is None or is_event_time(each.uploaded_at) for each in draft.uploads)


@given(pages)
def test_json(page: Any) -> None:
    try:
        body = json.dumps(page).encode()
    except ValueError:  # a surrogate
        return
    with suppress(SourcePageError):
        check(read_json_page(body, URL))
    with suppress(SourcePageError):
        read_json_list(body, URL)


@given(st.binary(max_size=200))
def test_bytes(body: bytes) -> None:
    for read in (read_json_page, read_json_list, read_html_list):
        with suppress(SourcePageError):
            read(body, URL)
    with suppress(SourcePageError):
        check(read_html_page(body, URL, "six"))


pieces = st.sampled_from(
    [
        *(
            "<a",
            "<A ",
            " href=",
            "'",
            '"',
            ">",
            "</a>",
            "<!--",
            "-->",
            "<base href=",
            "<meta name=",
            "content=",
            "/",
            "=",
            "&",
        ),
        *(
            "&#x110000;",
            "&lt;",
            "\x00",
            "\ud7ff",
            "#sha256=",
            "ab" * 32,
            "data-yanked",
            "http://[",
            "six-1.0.tar.gz",
            " ",
        ),
        *("pypi:repository-version", "<script>", "<!doctype", "<![CDATA["),
    ]
)


@given(st.lists(pieces, max_size=40).map("".join))
def test_html(text: str) -> None:
    try:
        check(read_html_page(text.encode(), URL, "six"))
        read_html_list(text.encode(), URL)
    except SourcePageError:
        pass


@pytest.mark.parametrize("name", recorded())
def test_both_forms_of_a_recorded_page_say_the_same(name: str) -> None:
    page = recorded()[name]
    in_json = read_json_page(json.dumps(page).encode(), URL)
    in_html = read_html_page(html_of(page).encode(), URL, name)
    assert (in_json.status, in_json.status_reason) == (in_html.status, in_html.status_reason)
    for one, other in zip(in_json.files, in_html.files, strict=True):
        facts = ("filename", "url", "sha256", "yanked", "has_core_metadata", "core_metadata_sha256", "provenance_url")
        assert [getattr(one, fact) for fact in facts] == [getattr(other, fact) for fact in facts]
        assert (one.requires_python or None) == other.requires_python


LONG = 1_000_000
LONG_PIECES = [
    *(
        "<",
        "<a",
        "<a ",
        "<a href=",
        "<a href='",
        '<a href="',
        "<!--",
        "<a href=x>",
        "<a href=x><",
        "</",
        "&",
        "&#",
        " =",
    ),
    *("<a href=x " + "y ", "<a href=x><<", "<a x=\"'", "<base href=x>", "<meta name=x>", "<a href=x.zip><b>"),
]


@pytest.mark.parametrize("piece", LONG_PIECES)
def test_a_long_page_is_read_in_time_that_grows_with_its_length(piece: str) -> None:
    """If it grew with the square, this would not end within an hour. The parser of the standard library's did, once."""
    with suppress(SourcePageError):
        read_html_page((piece * (LONG // len(piece))).encode(), URL, "six")


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=5))
def test_any_filename_has_a_version_or_none(filename: str, versions: list[str]) -> None:
    assert isinstance(Versions("six", versions).of(filename), str)
    assert project_in(filename) is None or isinstance(project_in(filename), str)


@given(
    st.text(max_size=40)
    | st.datetimes().map(lambda at: at.isoformat())
    | st.datetimes().map(lambda at: f"{at.isoformat()}+23:59")
)
def test_any_time_is_one_of_an_event_or_none(text: str) -> None:
    found = event_time(text)
    assert found is None or is_event_time(found)
