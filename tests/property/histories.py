"""Generated histories: few names and many collisions, so that states are reached and left again."""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec
from hypothesis import strategies as st

from projections.log.reading import Routed
from schemas import events
from tests import factory
from tests.factory import Make, digest

PROJECTS = ["a", "a-b", "c"]
VERSIONS = ["1", "1.0", "2"]
REASONS = [None, "", "Broken", "Vulnérable\u2028\x00", "x" * 1001, "<a href=\"'>&amp;</a>\\"]
FORMS = [
    "{}-{}.tar.gz",
    "{}-{}.zip",
    "{}-{}-py3-none-any.whl",
    "{}-{}-py2.py3-none-any.whl",
    "{}-{}-1-Py3-none-any.whl",
    "{}-{}.exe",
    "{}-{} (<&'>).exe",
]
NARROW_FILES = [("a-1.0.zip", "1.0"), ("a-1-py3-none-any.whl", "1"), ("a-2.zip", "2")]
"""Files of the project `a`, with their versions."""
TARGETS = ["a", "tools/a.txt", "simple/a/index.json"]

projects = st.sampled_from(PROJECTS)
versions = st.sampled_from(VERSIONS)
reasons = st.sampled_from(REASONS)


@st.composite
def filenames(draw: st.DrawFn) -> tuple[str, str, bool]:
    """A filename, its version, and whether it is legacy; not always one that fits."""
    version = draw(versions)
    name = draw(st.sampled_from(["a", "a_b", "a-b", "A.B", "c"]))
    form = draw(st.sampled_from(FORMS))
    return form.format(name, version), version, draw(st.booleans())


@st.composite
def uploads(draw: st.DrawFn, make: Make) -> events.BaseEvent:
    filename, version, legacy = draw(filenames())
    # The path is nearly always the filename's own, the claim about it differs more often.
    path = digest(f"blake2b {filename}") if draw(st.integers(0, 9)) else digest("another path")
    data: dict[str, Any] = {
        "filename": filename,
        "length": draw(st.sampled_from([9, 10])),
        "hashes": events.Hashes(sha256=digest(draw(st.sampled_from(["x", "y"]))), blake2b_256=path),
        "legacy": legacy,
    }
    if draw(st.integers(0, 4)) == 0:
        data |= {"requires_python": '>=3.11,<"4"&', "core_metadata_sha256": digest("metadata")}
    if draw(st.integers(0, 9)) == 0:
        data |= {"provenance_sha256": digest("provenance"), "commitments": {"ip": digest("ip")}}
    return make.file_uploaded(draw(projects), version, **data)


FREEABLE = (
    [
        (digest(content), project, form.format(name, version))
        for project, names in (("a", ["a", "A.B"]), ("a-b", ["a_b", "A.B"]), ("c", ["c"]))
        for name in names
        for version in VERSIONS
        for form in FORMS
        for content in (["x"] if version == "2" else ["x", "y"])
    ]
    + [(digest(content or name), "a", name) for name, _ in NARROW_FILES for content in ("", "second")]
    + [(digest(content), "a", "a-1.zip") for content in ("a-1.0.zip", "second")]
    + [(digest(content), project, "a-b-1.tar.gz") for project in ("a", "a-b", "a-b-1") for content in "xyz"]
)
"""Files that the root of `FREEING` allows to be freed: not all."""
PROOFS = factory.proofs_of(FREEABLE)


def freed(make: Make, project: str, filename: str, sha256: str) -> events.FileFreed:
    """A freed file, with a proof if there is one."""
    file = sha256, project, filename
    proof = msgspec.convert(PROOFS[file], events.Proof) if file in PROOFS else None
    return make.file_freed(project, filename, sha256, proof)


@st.composite
def project_events(draw: st.DrawFn, make: Make) -> events.BaseEvent:
    project, reason = draw(projects), draw(reasons)
    version, (filename, _, _), withhold = draw(versions), draw(filenames()), draw(st.booleans())
    made: list[Callable[[], events.BaseEvent]] = [
        lambda: make.project_created(project),
        lambda: make.project_status_changed(
            project, draw(st.sampled_from(["active", "archived", "quarantined", "deprecated"])), reason
        ),
        lambda: make.project_removed(project, reason, withhold=withhold),
        lambda: make.file_removed(project, filename, withhold=withhold),
        lambda: make.file_restored(project, filename, digest(draw(st.sampled_from(["x", "y"])))),
        lambda: freed(make, project, filename, digest(draw(st.sampled_from(["x", "y"])))),
        lambda: make.file_yanked(project, filename, reason),
        lambda: make.file_unyanked(project, filename),
        lambda: make.release_removed(project, version, withhold=withhold),
        lambda: make.release_yanked(project, version, reason),
        lambda: make.release_unyanked(project, version),
        lambda: make.release_quarantined(project, version, reason),
        lambda: make.release_quarantine_cleared(project, version),
    ]
    return draw(st.sampled_from(made))()


@st.composite
def target_events(draw: st.DrawFn, make: Make) -> events.BaseEvent:
    path = draw(st.sampled_from(TARGETS))
    if draw(st.booleans()):
        return make.target_added(path, draw(st.sampled_from(["x", "y"])))
    return make.target_removed(path, withhold=draw(st.booleans()))


@st.composite
def histories(draw: st.DrawFn, max_size: int = 40) -> list[bytes]:
    """Records of well-formed events: uploads most of all, some ids taken before, some records again."""
    make = Make()
    values: list[bytes] = []
    for _ in range(draw(st.integers(0, max_size))):
        choice = draw(st.integers(0, 19))
        if choice == 0 and values:
            values.append(draw(st.sampled_from(values)))
            continue
        maker = make.having(id=draw(st.sampled_from(["x", "y"]))) if choice == 1 else make
        kind = draw(st.integers(0, 9))
        strategy = uploads(maker) if kind < 5 else project_events(maker) if kind < 9 else target_events(maker)
        event = draw(strategy)
        if isinstance(event, events.ProjectEvent) and choice in {2, 3}:
            event = factory.change(event, incident="x", data_expects=_expected(draw, event.subject, values))
        values += factory.encode([event])
    return values


def _expected(draw: st.DrawFn, project: str, values: list[bytes]) -> str:
    """The digest of one of the last records about a project, whatever became of it; zeros if there is none."""
    about = [value for value in values if f'"subject":"{project}"'.encode() in value]
    return sha256(draw(st.sampled_from(about[-3:]))).hexdigest() if about else "0" * 64


def second_file(make: Make, filename: str, version: str, content: str) -> events.BaseEvent:
    """Other bytes under a name, at its old path or another one."""
    blake = digest(f"blake2b {filename}") if content == "second" else digest(content)
    hashes = events.Hashes(sha256=digest(content), blake2b_256=blake)
    return make.file_uploaded("a", version, filename=filename, hashes=hashes)


@st.composite
def narrow_histories(draw: st.DrawFn, max_size: int = 25) -> list[bytes]:
    """Events about one project with three files in two releases: nearly all of them do something."""
    make = Make()
    made: list[events.BaseEvent] = [make.file_uploaded("a", version, filename=name) for name, version in NARROW_FILES]
    for _ in range(draw(st.integers(0, max_size))):
        filename, version = draw(st.sampled_from(NARROW_FILES))
        reason, withhold = draw(st.sampled_from([None, "Broken"])), draw(st.booleans())
        choices: list[Callable[[], events.BaseEvent]] = [
            partial(make.file_uploaded, "a", version, filename=filename),
            partial(make.file_removed, "a", filename, withhold=withhold),
            partial(make.file_restored, "a", filename),
            partial(freed, make, "a", filename, digest(filename)),
            partial(freed, make, "a", filename, digest("second")),
            partial(second_file, make, filename, version, "second"),
            partial(second_file, make, filename, version, "third"),
            partial(make.file_yanked, "a", filename, reason),
            partial(make.file_unyanked, "a", filename),
            partial(make.release_removed, "a", version, withhold=withhold),
            partial(make.release_yanked, "a", version, reason),
            partial(make.release_unyanked, "a", version),
            partial(make.release_quarantined, "a", version, reason),
            partial(make.release_quarantine_cleared, "a", version),
            partial(make.project_status_changed, "a", draw(st.sampled_from(["active", "quarantined"])), reason),
            partial(make.project_status_changed, "a", draw(st.sampled_from(["archived", "deprecated"])), reason),
            partial(make.project_removed, "a", withhold=withhold),
            partial(make.project_created, "a"),
        ]
        made.append(draw(st.sampled_from(choices))())
    return factory.encode(made)


@st.composite
def freeing_histories(draw: st.DrawFn, max_size: int = 20) -> list[bytes]:
    """Few bytes under two names of one distribution: removed, freed, uploaded anew, in all orders."""
    make = Make()
    made: list[events.BaseEvent] = []
    content = draw(st.sampled_from(["a-1.0.zip", "second"]))
    for _ in range(draw(st.integers(0, max_size))):
        filename = draw(st.sampled_from(["a-1.0.zip", "a-1.0.zip", "a-1.0.zip", "a-1.zip"]))
        other = draw(st.sampled_from(["a-1.0.zip", "second", "third"]))
        remove = partial(make.file_removed, "a", filename, withhold=draw(st.booleans()))
        free = partial(freed, make, "a", filename, digest(content))
        choices: list[list[Callable[[], events.BaseEvent]]] = [
            [partial(second_file, make, filename, "1", content)],
            [remove, free, partial(second_file, make, filename, "1", other)],
            [remove],
            [free],
            [partial(make.file_restored, "a", filename, digest(content))],
            [partial(make.release_removed, "a", "1", withhold=draw(st.booleans()))],
            [partial(make.release_quarantined, "a", "1"), partial(make.release_quarantine_cleared, "a", "1")],
            [partial(make.file_yanked, "a", filename)],
            [partial(make.file_unyanked, "a", filename)],
        ]
        chosen = draw(st.sampled_from(choices))
        made += [each() for each in chosen]
        content = other if len(chosen) == 3 else content
    return factory.encode(made)


@st.composite
def cuts(draw: st.DrawFn, values: list[Any]) -> list[list[Any]]:
    """The same in pieces, some of them empty."""
    borders = sorted(draw(st.lists(st.integers(0, len(values)), max_size=6)))
    return [values[start:end] for start, end in zip([0, *borders], [*borders, len(values)], strict=True)]


def grouping(data: st.DataObject) -> Callable[[Any], list[list[Routed]]]:
    """Groups of whole aggregates in any order, interleaved in any way that keeps each aggregate's order."""

    def group(routed: list[Routed]) -> list[list[Routed]]:
        queues: dict[str, list[Routed]] = {}
        for item in routed:
            queues.setdefault(item.key, []).append(item)
        keys = data.draw(st.permutations(sorted(queues)))
        groups = [[key for key in keys if key in piece] for piece in data.draw(cuts(keys))]
        return [_interleaved(data, [list(queues[key]) for key in keys]) for keys in groups if keys]

    return group


def _interleaved(data: st.DataObject, queues: list[list[Routed]]) -> list[Routed]:
    order = data.draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    return [queues[number].pop(0) for number in order]
