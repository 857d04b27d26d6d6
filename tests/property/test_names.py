"""Names and versions: the rules of PEP 440, 503, 491 and 625, frozen, and the same as `packaging`'s."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from projections.index.names import canonical_version, check_filename, normalise, split_filename
from schemas.fields import PROJECT_PATTERN

numbers = st.integers(0, 20).map(str) | st.sampled_from(["00", "01", "007", "20301231", "9" * 40])
separators = st.sampled_from(["", ".", "-", "_"])


@st.composite
def versions(draw: st.DrawFn) -> str:
    """Spellings of PEP 440 versions, appendix B; few numbers, so that many are equal."""

    def maybe(text: str) -> str:
        return text if draw(st.booleans()) else ""

    def part(names: list[str]) -> str:
        return draw(separators) + draw(st.sampled_from(names)) + maybe(draw(separators) + draw(numbers))

    text = maybe("v") + maybe(draw(numbers) + "!") + ".".join(draw(st.lists(numbers, min_size=1, max_size=4)))
    text += maybe(part(["a", "alpha", "b", "beta", "c", "rc", "pre", "preview"]))
    text += maybe(draw(st.sampled_from(["-1", "-0"])) if draw(st.booleans()) else part(["post", "rev", "r"]))
    text += maybe(part(["dev"]))
    local = draw(st.lists(st.sampled_from(["1", "01", "a", "ubuntu", "1a"]), min_size=1, max_size=3))
    text += maybe("+" + draw(st.sampled_from([".", "-", "_"])).join(local))
    return draw(st.sampled_from([text, text.upper(), text.title()]))


near_versions = st.text("0123456789.abcdevpostr!+-_ v", max_size=14)


def version_of(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


@given(versions() | near_versions, versions() | near_versions)
@example("1.0", "1")
@example("1.0.post0", "1.0-0")
@example("0!1", "1.0.0")
@example("1+1.0", "1+1-00")
@example("1.dev", "1dev0")
@example("1c", "1rc0")
@example("1.0c1", "1.RC-01")
@example("1-1", "1.post1")
@example("1_1", "1.1")
@example("1.0a1-1.post1", "1.0a1.post1")
@example("1+a.1", "1+A-01")
@example("1+1a", "1+01a")
@example("1.0+0a1.00a", "1.0+0a1.0a")
@example("", "")
@example("1.0\n", "1.0")
def test_versions_are_equal_if_packaging_says_so(first: str, second: str) -> None:
    if first != first.strip() or second != second.strip():
        return  # space around a version, which `packaging` forgives, is not allowed by the schema
    canonical = canonical_version(first), canonical_version(second)
    known = version_of(first), version_of(second)
    assert [each is None for each in canonical] == [each is None for each in known]
    if None not in known:
        assert (canonical[0] == canonical[1]) == (known[0] == known[1])


@given(versions())
def test_the_one_form_of_a_version_is_a_version_equal_to_it(text: str) -> None:
    canonical = canonical_version(text)
    assert canonical is not None
    assert Version(canonical) == Version(text)
    assert canonical_version(canonical) == canonical


def test_a_version_may_have_more_digits_than_python_converts() -> None:
    assert canonical_version("9" * 5_000) == "0!" + "9" * 5_000


@given(st.text("aZ09-_.", min_size=1, max_size=12))
def test_names_are_normalised_as_pep_503_says(name: str) -> None:
    assert normalise(name) == re.sub(r"[-_.]+", "-", name).lower() == canonicalize_name(name)


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True))
def test_a_normalised_name_is_a_project_name(name: str) -> None:
    assert re.search(PROJECT_PATTERN, normalise(name))


@given(
    st.text("abAB019-_.", min_size=1, max_size=12),
    versions() | near_versions,
    st.sampled_from(["-py3-none-any.whl", "-1a-py2.py3-none-any.whl", ".tar.gz", ".zip", ".whl"]),
)
def test_what_packaging_splits_our_rules_split_alike(name: str, version: str, tag: str) -> None:
    filename = f"{name}-{version}{tag}"
    parse = parse_wheel_filename if tag.endswith(".whl") else parse_sdist_filename
    try:
        project, parsed, *_ = parse(filename)
    except ValueError:
        return
    parts = split_filename(filename)
    assert parts is not None
    assert parts[0] == project == canonicalize_name(project)
    if version == version.strip():
        assert canonical_version(parts[1]) == canonical_version(str(parsed))


projects = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,6}", fullmatch=True)


@given(projects, versions(), st.sampled_from(["_", "-", ".", "-_."]), st.booleans())
def test_the_files_that_tools_make_belong_to_their_project(
    project: str, version: str, separator: str, wheel: bool
) -> None:
    """The distribution in a wheel's name, or what stands before the last `-` in a source distribution's, normalises to
    the subject, and `version` is equal to the one in the filename.
    """
    written = str(Version(version))
    if wheel:
        filename = f"{project.replace('-', '_')}-{written.replace('-', '_')}-py3-none-any.whl"
    else:
        filename = f"{project.replace('-', separator)}-{written}.tar.gz"
    assert check_filename(project, filename, version, legacy=False) == ""
    assert check_filename(project, filename, version, legacy=True) == ""
    assert check_filename(project + "x", filename, version, legacy=False) == "foreign-filename"
    assert (
        check_filename(project, filename, written + ".1" if "+" in written else "77!7", legacy=False) == "bad-version"
    )


@given(st.text("ab12-_.+!whlzip", max_size=30), projects, versions(), st.booleans())
def test_a_file_belongs_to_at_most_one_project_unless_it_is_legacy(
    filename: str, project: str, version: str, legacy: bool
) -> None:
    code = check_filename(project, filename, version, legacy=legacy)
    assert code in {"", "foreign-filename", "bad-version"}
    parts = split_filename(filename)
    if legacy:
        assert code != "bad-version"
    elif code != "foreign-filename":
        assert parts is not None
        assert parts[0] == project


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz", ".zip"])
def test_what_is_only_a_suffix_has_no_parts(suffix: str) -> None:
    assert split_filename(suffix) is None
    assert split_filename(f"-1{suffix}") is None
