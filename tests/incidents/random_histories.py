"""Random histories from a seed: dense, fast to make, and the same on every machine."""

from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any

from projections.roles.authority import Terms
from schemas import events
from tests import factory
from tests.factory import Make, digest
from tests.incidents.converging import World
from tests.property.histories import FREEABLE, freed

PROJECTS = ("a", "a-b", "c")
FORMS = ("{}-{}.tar.gz", "{}-{}.zip", "{}-{}-py3-none-any.whl", "{}-{}-py2.py3-none-any.whl", "{}-{}.exe")
VERSIONS = ("1", "1.0", "2")
STATUSES: tuple[events.ProjectStatus, ...] = ("active", "archived", "quarantined", "deprecated")
FREEABLE_ROOT = factory.freeable_root(FREEABLE)


def random_world(random: Random, count: int) -> tuple[World, set[int]]:
    """A log of so many events about a few projects, and the indices of suspects."""
    make = Make()
    values = [b"{}"]
    for _ in range(count):
        event = _event(random, make)
        if isinstance(event, events.ProjectEvent) and random.random() < 0.1:
            event = factory.change(event, data_expects=_expected(random, event.subject, values))
        values += factory.encode([event])
    for _ in range(random.randrange(3)):
        values.append(random.choice(values[1:]))
    end = random.randrange(len(values))
    terms = (Terms(0, importing=True, freeable=(FREEABLE_ROOT,)), Terms(end, freeable=(FREEABLE_ROOT,)))
    part = random.choice([0.1, 0.25, 0.5])
    suspects = {index for index in range(1, len(values)) if random.random() < part}
    return World(values, terms[: random.randrange(1, 3)]), suspects


def random_upload(random: Random) -> bytes:
    """An upload of a new release to the project `a`."""
    event = Make().having(id="honest").file_uploaded("a", f"9.{random.randrange(99)}")
    return factory.encode([event])[0]


def _event(random: Random, make: Make) -> events.BaseEvent:
    project, version = random.choice(PROJECTS[: random.randrange(1, 4)]), random.choice(VERSIONS)
    prefix = random.choice([project.replace("-", "_"), project, "A.B"])
    filename = random.choice(FORMS).format(prefix, version)
    content, reason = digest(random.choice("xxy")), random.choice([None, "", "Broken", "Bad"])
    withhold = random.random() < 0.3
    choices: list[tuple[int, Callable[[], events.BaseEvent]]] = [
        (14, lambda: make.file_uploaded(project, version, **_facts(random, filename, content))),
        (3, lambda: make.file_removed(project, filename, withhold=withhold)),
        (3, lambda: make.file_restored(project, filename, content)),
        (2, lambda: freed(make, project, filename, content)),
        (2, lambda: make.file_yanked(project, filename, reason)),
        (1, lambda: make.file_unyanked(project, filename)),
        (1, lambda: make.release_yanked(project, version, reason)),
        (1, lambda: make.release_unyanked(project, version)),
        (1, lambda: make.release_removed(project, version, withhold=withhold)),
        (1, lambda: make.release_quarantined(project, version, reason)),
        (1, lambda: make.release_quarantine_cleared(project, version)),
        (2, lambda: make.project_status_changed(project, random.choice(STATUSES), reason)),
        (1, lambda: make.project_removed(project, withhold=withhold)),
        (1, lambda: make.project_created(project)),
        (1, lambda: make.target_added("tools/a.txt", random.choice("xy"))),
        (1, lambda: make.target_removed("tools/a.txt", withhold=withhold)),
    ]
    (chosen,) = random.choices([each for _, each in choices], [weight for weight, _ in choices])
    return chosen()


def _expected(random: Random, project: str, values: list[bytes]) -> str:
    """The digest of one of the last records about a project, whatever became of it; zeros if there is none."""
    about = [value for value in values if f'"subject":"{project}"'.encode() in value]
    return sha256(random.choice(about[-3:])).hexdigest() if about else "0" * 64


def _facts(random: Random, filename: str, content: str) -> dict[str, Any]:
    """Facts of a file. One path has the same bytes everywhere: BLAKE2b-256 does not collide."""
    hashes = events.Hashes(sha256=content, blake2b_256=digest(f"blake2b {filename} {content}"))
    return {"filename": filename, "hashes": hashes, "legacy": random.random() < 0.3}
