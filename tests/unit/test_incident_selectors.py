"""Selectors as texts: each has one form, and what is none is refused with advice."""

import pytest

from consumers.incidents.incident_selectors import SelectorError, read_selectors

FORMS = {
    "since=2026-11-21": "since=2026-11-21T00:00:00Z",
    "until=2026-11-21T10:00:00Z": "until=2026-11-21T10:00:00Z",
    "strict": "strict",
    "events=7": "events=7..7",
    "events=007..9": "events=7..9",
    "actor=user:alice": "actor=user:alice",
    "not actor=alice": "not actor=alice",
    "credential=token=1": "credential=token=1",
    "publisher=github/one": "publisher=github/one",
    "project=Flask_Login": "project=flask-login",
    f"sha256=sha256:{'AB' * 32}": f"sha256={'ab' * 32}",
    "key=ABCDEF": "key=abcdef",
    "not unattested": "not unattested",
    "late-files=1.5": "late-files=1.5",
    "first-use": "first-use",
}


@pytest.mark.parametrize("text", FORMS)
def test_each_has_one_form(text: str) -> None:
    (selector,) = read_selectors([text])
    assert str(selector) == FORMS[text]
    assert read_selectors([str(selector)]) == (selector,)


def test_each_counts_once() -> None:
    assert len(read_selectors(["project=a_b", "project=a-b", "not project=a-b"])) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "name=alice",
        "actor",
        "actor=",
        "actor=a b",
        "actor=\x1b[2J",
        "since=yesterday",
        "since=2026-02-30",
        "not since=2026-11-21",
        "not strict",
        "strict=yes",
        "events=",
        "events=9..7",
        "events=-1",
        "sha256=abc",
        "key=abc",
        "project=",
        "project=caf\udce9",
        "late-files=-1",
        "late-files=nan",
        "late-files=400000",
        "first-use=1",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(SelectorError):
        read_selectors([text])
