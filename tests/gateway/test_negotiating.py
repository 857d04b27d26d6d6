"""Which form a client gets: PEP 691, "Version + Format Selection", and RFC 9110, section 12.5."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.gateway.negotiating import (
    HTML_TYPE,
    JSON_TYPE,
    OLD_HTML_TYPE,
    PAGE_TYPES,
    accepts_gzip,
    choose_page_type,
)

PIP = f"{JSON_TYPE}, {HTML_TYPE}; q=0.1, text/html; q=0.01"
"""What pip asks for since 22.2."""
UV = f"{JSON_TYPE}, {HTML_TYPE};q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, OLD_HTML_TYPE),
        ("", OLD_HTML_TYPE),
        ("*/*", OLD_HTML_TYPE),
        ("text/html", OLD_HTML_TYPE),
        ("text/html, */*; q=0.01", OLD_HTML_TYPE),  # pip up to 22.1
        ("text/*", OLD_HTML_TYPE),
        ("application/*", HTML_TYPE),
        (BROWSER, OLD_HTML_TYPE),
        (PIP, JSON_TYPE),
        (UV, JSON_TYPE),
        (JSON_TYPE, JSON_TYPE),
        (JSON_TYPE.upper(), JSON_TYPE),
        (f"{JSON_TYPE};q=0.5, {HTML_TYPE};q=0.6", HTML_TYPE),
        (f"{JSON_TYPE}, {HTML_TYPE}", JSON_TYPE),
        (f"{HTML_TYPE}, {JSON_TYPE}", JSON_TYPE),
        (f"{JSON_TYPE}, */*", JSON_TYPE),
        ("text/html;q=0.1, */*", HTML_TYPE),
        ("*/*;q=0.1, application/*;q=0.2", HTML_TYPE),
        ("application/vnd.pypi.simple.latest+json", JSON_TYPE),
        ("application/vnd.pypi.simple.latest+html", HTML_TYPE),
        ("application/vnd.pypi.simple.v2+json", None),
        ("application/vnd.pypi.simple.v2+json, text/html;q=0.01", OLD_HTML_TYPE),
        ("application/json", None),
        ("*/*;q=0", None),
        (f"{JSON_TYPE};q=0", None),
        (f"{JSON_TYPE};q=0, */*;q=0.5", OLD_HTML_TYPE),
        ("text/html;q=2", None),
        ("text/html;charset=utf-8;q=0.3", OLD_HTML_TYPE),
    ],
)
def test_the_form_of_a_page(accept: str | None, form: str | None) -> None:
    assert choose_page_type(accept) == form


QUALITIES = st.sampled_from(["", ";q=0", ";q=0.001", ";q=0.5", ";q=1", ";q=1.0", ";q=x", "; q=0.25", ";v=1"])
RANGES = st.sampled_from([*PAGE_TYPES, "text/*", "application/*", "*/*", "image/png", "", "/", "a"])


@given(st.lists(st.tuples(RANGES, QUALITIES), max_size=6))
@example([("*/*", ";q=0"), (JSON_TYPE, "")])
def test_a_form_is_one_that_the_client_takes(ranges: list[tuple[str, str]]) -> None:
    form = choose_page_type(", ".join(map("".join, ranges)))
    covering = {"text/html": "text/*", HTML_TYPE: "application/*", JSON_TYPE: "application/*"}
    named = {name for name, _ in ranges}
    assert form is None or not named.isdisjoint({form, covering[form], "*/*"}) or not "".join(map("".join, ranges))


@given(st.text(max_size=200))
def test_any_header_can_be_read(text: str) -> None:
    assert choose_page_type(text) in {None, *PAGE_TYPES}
    accepts_gzip(text)


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("X-GZIP", True),
    ],
)
def test_packing(header: str | None, answer: bool) -> None:
    assert accepts_gzip(header) is answer
