"""Names of projects, files and versions, by rules that are frozen with the ruleset.

Producers should use `packaging`, which has the same rules. It is not used here: its next version may have better rules,
and would then judge an old log differently.
"""

import re
from functools import lru_cache

from schemas.fields import NEW_FILENAME_PATTERN

_SEPARATORS = re.compile(r"[-_.]+")
_NEW_FILENAME = re.compile(NEW_FILENAME_PATTERN)
_SOURCE_SUFFIXES = (".tar.gz", ".zip")
_COMPANIONS = (".metadata", ".provenance")
# PEP 440, appendix B.
_VERSION = re.compile(
    r"""v?(?:(?P<epoch>[0-9]+)!)?
    (?P<release>[0-9]+(?:\.[0-9]+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>[0-9]+)?)?
    (?P<post>-(?P<post_implicit>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>[0-9]+)?)?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>[0-9]+)?)?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.VERBOSE,
)
_PRE = {"a": "a", "alpha": "a", "b": "b", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc", "rc": "rc"}


@lru_cache(maxsize=1024)  # the files of one project are folded one after the other
def normalise(name: str) -> str:
    """The normalised form of a project's name (PEP 503)."""
    return _SEPARATORS.sub("-", name).lower()


@lru_cache(maxsize=16_384)
def canonical_version(text: str) -> str | None:
    """The one form of all spellings of a PEP 440 version, without trailing zeros; None for any other text."""
    match = _VERSION.fullmatch(text.lower())
    if match is None:
        return None
    numbers = [_number(part) for part in match["release"].split(".")]
    while len(numbers) > 1 and numbers[-1] == "0":
        numbers.pop()
    parts = [f"{_number(match['epoch'])}!", ".".join(numbers)]
    if match["pre"]:
        parts.append(_PRE[match["pre"]] + _number(match["pre_number"]))
    if match["post"]:
        parts.append(".post" + _number(match["post_implicit"] or match["post_number"]))
    if match["dev"]:
        parts.append(".dev" + _number(match["dev_number"]))
    if match["local"]:
        local = _SEPARATORS.split(match["local"])
        parts.append("+" + ".".join(_number(part) if part.isdigit() else part for part in local))
    return "".join(parts)


def release_key(version: str) -> str:
    """The key that all spellings of a version share. A version from before PEP 440 has only one spelling."""
    return canonical_version(version) or version


def split_filename(filename: str) -> tuple[str, str] | None:
    """The normalised project and the version in the name of a wheel or source distribution; None for any other form.

    Wheels follow PEP 491 (`name-version[-build]-python-abi-platform.whl`). Source distributions follow PEP 625, or the
    form before it. In both forms, the project's name is the part before the last hyphen.
    """
    if filename.endswith(".whl"):
        parts = filename[: -len(".whl")].split("-")
        if len(parts) not in {5, 6}:
            return None
        return normalise(parts[0]), parts[1]
    for suffix in _SOURCE_SUFFIXES:
        if filename.endswith(suffix):
            name, hyphen, version = filename[: -len(suffix)].rpartition("-")
            return (normalise(name), version) if hyphen and name else None
    return None


def check_filename(project: str, filename: str, version: str, *, legacy: bool) -> str:
    """Check that a file belongs to a project and a version; return the code of the rejection, or an empty string."""
    if filename.endswith(_COMPANIONS):  # it would be served where another file's metadata or provenance is
        return "foreign-filename"
    if legacy:
        # Some names have a space where others have a hyphen.
        return "" if normalise(filename.replace(" ", "-")).startswith(f"{project}-") else "foreign-filename"
    parts = split_filename(filename) if _NEW_FILENAME.match(filename) else None
    if parts is None or parts[0] != project:
        return "foreign-filename"
    canonical = canonical_version(version)
    fits = canonical is not None and canonical == canonical_version(parts[1])
    return "" if fits and _has_build_number(filename) else "bad-version"


def _has_build_number(filename: str) -> bool:
    """Whether the build tag of a wheel, if it has one, begins with a digit (PEP 491)."""
    parts = filename.split("-")
    return not filename.endswith(".whl") or len(parts) < 6 or parts[2][:1].isdigit()


def _number(digits: str | None) -> str:
    """A number without leading zeros, as a string; an absent one is 0. Python limits the digits of an integer."""
    return (digits or "").lstrip("0") or "0"
