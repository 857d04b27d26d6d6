"""A page in HTML that is rendered from the page in JSON has the bytes of the one that is rendered from the state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.index.pages import (
    FileCodec,
    FileFacts,
    ProjectHeader,
    Release,
    html_list,
    html_of_json,
    html_page,
    json_list,
    json_page,
)
from projections.index.project_list import entry_of_project

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
HEX = st.sampled_from(["0" * 64, "f" * 64, "0123456789abcdef" * 4])
NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)


@st.composite
def facts(draw: st.DrawFn) -> FileFacts:
    return FileFacts(
        filename=draw(st.sampled_from(["a-1-py3-none-any.whl", "a-1.tar.gz", "a 1&2'.zip", "a+b!%c.exe"])),
        version="1",
        release="1",
        length=draw(st.integers(0, 2**53)),
        sha256=draw(HEX),
        blake2b_256=draw(HEX),
        uploaded_at="2031-01-01T00:00:00Z",
        requires_python=draw(st.none() | TEXTS),
        core_metadata_sha256=draw(st.none() | HEX),
        provenance_sha256=draw(st.none() | HEX),
        legacy=False,
        rank=0,
        yanked=draw(st.none() | TEXTS),
    )


@given(NAMES, st.lists(facts(), max_size=4), st.none() | TEXTS, TEXTS, st.sampled_from(["active", "archived"]))
def test_pages(name: str, files: list[FileFacts], yanked: str | None, reason: str, status: str) -> None:
    header = ProjectHeader(status, reason, last_serial=7, releases={"1": Release({"1": 1}, yanked)})
    chunk = FileCodec(header, html=True).render("", [(each.filename, each) for each in files])
    assert html_of_json(json_page(name, header, [chunk])) == html_page(name, header, [chunk])


@given(st.lists(NAMES, max_size=5), st.integers(0, 2**53))
def test_lists(names: list[str], serial: int) -> None:
    page = json_list(b",".join(map(entry_of_project, names)), serial)
    assert html_of_json(page) == html_list(names, serial)


@pytest.mark.parametrize("page", [b"", b"[]", b"{}", b"null", b'{"meta":{"_last-serial":1},"projects":[1]}', b"\xff"])
def test_what_is_no_page(page: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        html_of_json(page)


def test_nothing_in_a_page_becomes_markup() -> None:
    page = b'{"meta":{"_last-serial":1},"name":"<b>",'
    page += b'"project-status":{"status":"<i>","reason":"\\"<u>"},"files":[{"url":"\\"<a>'
    page += b'","filename":"<script>","hashes":{"sha256":"<s>"},"core-metadata":{"sha256":"<q>"},"provenance":null,'
    page += b'"requires-python":"<","yanked":"\\">"}]}'
    html = html_of_json(page)
    assert not any(tag in html for tag in (b"<b>", b"<i>", b"<u>", b'"<a>', b"<script>", b"<s>", b"<q>"))
