"""Which form of a page a client wants, and how it may be packed (RFC 9110, section 12.5)."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

JSON_TYPE: Final = "application/vnd.pypi.simple.v1+json"
HTML_TYPE: Final = "application/vnd.pypi.simple.v1+html"
OLD_HTML_TYPE: Final = "text/html"
PAGE_TYPES: Final = (JSON_TYPE, HTML_TYPE, OLD_HTML_TYPE)
"""The forms of a page (PEP 691), the best one first for who names several."""

_FOR_ANYBODY: Final = (OLD_HTML_TYPE, HTML_TYPE, JSON_TYPE)
"""The same for who takes anything: a browser, or an installer from before PEP 691."""
_LATEST: Final = {
    "application/vnd.pypi.simple.latest+json": JSON_TYPE,
    "application/vnd.pypi.simple.latest+html": HTML_TYPE,
}
_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_MOST_RANGES = 64


def choose_page_type(accept: str | None) -> str | None:
    """The form of a page for a header `Accept` (None: there is none); None: no form is acceptable (PEP 691).

    The most specific range decides about a form. Of several with the same quality, one that the client names wins over
    one that a wildcard covers.
    """
    ranges = _read_qualities(accept) if accept is not None and accept.strip() else {"*/*": 1.0}
    for name, form in _LATEST.items():
        if name in ranges:
            ranges.setdefault(form, ranges[name])
    best, best_quality = None, 0.0
    named = [form for form in PAGE_TYPES if form in ranges]
    for form in (*named, *(each for each in _FOR_ANYBODY if each not in ranges)):
        quality = _quality_of(form, ranges)
        if quality > best_quality:
            best, best_quality = form, quality
    return best


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether a header `Accept-Encoding` allows gzip."""
    if accept_encoding is None:
        return False
    found = _read_qualities(accept_encoding)
    return found.get("gzip", found.get("x-gzip", found.get("*", 0.0))) > 0


def _quality_of(form: str, ranges: Mapping[str, float]) -> float:
    kind = form.partition("/")[0]
    for each in (form, f"{kind}/*", "*/*"):
        if each in ranges:
            return ranges[each]
    return 0.0


def _read_qualities(header: str) -> dict[str, float]:
    """The quality of each range of a header; what cannot be read does not count."""
    found: dict[str, float] = {}
    for part in header.split(",")[:_MOST_RANGES]:
        name, *parameters = (each.strip() for each in part.lower().split(";"))
        quality = _read_quality(parameters)
        if name and quality is not None:
            found[name] = max(quality, found.get(name, 0.0))
    return found


def _read_quality(parameters: Sequence[str]) -> float | None:
    for each in parameters:
        key, _, value = each.partition("=")
        if key.strip() == "q":
            value = value.strip()
            return float(value) if _QUALITY.fullmatch(value) else None
    return 1.0
