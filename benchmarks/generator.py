"""Events as an index has them, from a seed: any number, the same for ever.

Counts of files are long-tailed as on PyPI (740,000 projects, 17 million files: half of the projects have at most six
files, some have tens of thousands): a log-normal distribution with a mean of 23. A release is uploaded as a burst of
files. Among the uploads are yanks, removals, changes of status, facts about access, repeated uploads and, rarely, a
record that is refused.
"""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import accumulate
from math import ceil, log
from random import Random

MEAN_FILES = 23.0
MEDIAN_FILES = 5.0
_SIGMA = (2 * (log(MEAN_FILES) - log(MEDIAN_FILES))) ** 0.5
_TAGS = ("cp310", "cp311", "cp312", "cp313")
_PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "macosx_11_0_arm64", "win_amd64")


def generate(seed: int, count: int) -> Iterator[bytes]:
    """So many events, as records; none of them is `ledger.created` or `roles.signed`."""
    chance = Random(seed)
    widths, turns = _projects(chance, count)
    return _records(chance, widths, turns, 0, count)


def generate_more(seed: int, generated: int, first: int, count: int) -> Iterator[bytes]:
    """So many events about the projects of `generate(seed, generated)`, for a log that has `first` records.

    They are new without those before being made: releases are numbered from `first` on, and no project had so many.
    """
    widths, turns = _projects(Random(seed), generated)
    return _records(Random(f"{seed} {first}"), widths, turns, first, first + count)


def projects_with_files(seed: int, generated: int) -> list[int]:
    """Numbers of projects that surely have files after `generate(seed, generated)`, each once."""
    _, turns = _projects(Random(seed), generated)
    return sorted(set(turns[: -(-len(turns) // 2)]))  # one round of all turns may be more events than that


def _projects(chance: Random, count: int) -> tuple[bytes, Sequence[int]]:
    """How many files a release of each project has, and whose turn it is to make one."""
    projects = max(1, ceil(count * 0.95 / MEAN_FILES))
    files = [max(1, round(chance.lognormvariate(log(MEDIAN_FILES), _SIGMA))) for _ in range(projects)]
    # Of which a release has this many: most have an sdist and a wheel, some a wheel for each platform.
    widths = bytes(chance.choices((1, 2, 3, 9, 17), (15, 70, 5, 6, 4), k=projects))
    turns = array("I")
    for project in range(projects):
        turns.extend([project] * max(1, files[project] // widths[project]))
    chance.shuffle(turns)
    return widths, turns


def _records(chance: Random, widths: bytes, turns: Sequence[int], first: int, count: int) -> Iterator[bytes]:
    released = array("I", [first]) * len(widths)
    number, others = first, _Others(chance)
    at = first
    while number < count:
        project = turns[at % len(turns)]
        at += 1
        version = f"{released[project] // 10}.{released[project] % 10}"
        released[project] += 1
        name = f"project-{project}"
        for filename in _filenames(name.replace("-", "_"), version, widths[project]):
            yield upload(number, name, version, filename, chance)
            number += 1
            if number == count:
                return
        for record in others.after(number, name, version, filename):
            yield record
            number += 1
            if number == count:
                return


def _filenames(stem: str, version: str, width: int) -> Iterator[str]:
    if width <= 3:
        yield f"{stem}-{version}-py3-none-any.whl"
        if width > 1:
            yield f"{stem}-{version}.tar.gz"
        if width > 2:
            yield f"{stem}-{version}-py2-none-any.whl"
        return
    yield f"{stem}-{version}.tar.gz"
    for index in range(width - 1):
        tag = _TAGS[index % len(_TAGS)]
        yield f"{stem}-{version}-{tag}-{tag}-{_PLATFORMS[index // len(_TAGS)]}.whl"


def upload(number: int, name: str, version: str, filename: str, chance: Random) -> bytes:
    """An event that uploads a file; its digests follow from the number."""
    digests = sha256(b"%d" % number).hexdigest(), sha256(b"-%d" % number).hexdigest()
    metadata = f',"core_metadata_sha256":"{digests[1]}"' if filename.endswith(".whl") else ""
    data = (
        f'{{"filename":"{filename}","hashes":{{"blake2b_256":"{digests[1]}","sha256":"{digests[0]}"}}{metadata}'
        f',"length":{1000 + chance.randrange(5_000_000)},"requires_python":">=3.9","version":"{version}"}}'
    )
    return _event("file.uploaded.v1", number, name, data, "trusted-publisher" if number % 3 else "user")


def _event(kind: str, number: int, subject: str, data: str, actor: str = "user") -> bytes:
    seconds = number // 20
    time = f"2026-{1 + seconds // 2_419_200 % 12:02}-{1 + seconds // 86_400 % 28:02}"
    time += f"T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{number % 20:02}0000Z"
    return (
        f'{{"actorcredential":"token-{number % 100_003:06}","actorid":"account-{number % 250_007:06}"'
        f',"actorkind":"{actor}","data":{data},"id":"01900000-0000-7000-8000-{number:012x}","source":"/upload"'
        f',"specversion":"1.0","subject":"{subject}","time":"{time}","type":"{kind}"}}'
    ).encode()


class _Others:
    """What happens besides uploads, about a release that was just uploaded."""

    _KINDS = ("", "yank", "unyank", "remove", "status", "access", "repeat", "bad")
    _WEIGHTS = tuple(accumulate((9400, 120, 20, 60, 20, 300, 70, 10)))

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def after(self, number: int, name: str, version: str, filename: str) -> Iterator[bytes]:
        """Mostly nothing."""
        (kind,) = self._chance.choices(self._KINDS, cum_weights=self._WEIGHTS)
        if kind == "yank":
            yield _event("file.yanked.v1", number, name, f'{{"filename":"{filename}","reason":"broken on 3.14"}}')
        elif kind == "unyank":
            yield _event("release.yanked.v1", number, name, f'{{"reason":"oops","version":"{version}"}}')
            yield _event("release.unyanked.v1", number + 1, name, f'{{"version":"{version}"}}')
        elif kind == "remove":
            yield _event("file.removed.v1", number, name, f'{{"filename":"{filename}"}}')
        elif kind == "status":
            yield _event("project.status_changed.v1", number, name, '{"status":"deprecated"}')
        elif kind == "access":
            account = f"account-{number % 1000}"
            yield _event("access.granted.v1", number, account, f'{{"kind":"credential","project":"{name}"}}')
        elif kind == "repeat":
            # The same name with other bytes: rejected.
            yield upload(number, name, version, filename, self._chance)
        elif kind == "bad":
            yield b'{"type":"file.uploaded.v1"}'
