"""A source that changes at random, beside a ledger that people change too: after each import the pages say the same."""

import json
from pathlib import Path
from random import Random

import pytest

from tests.client.index import Index, silence
from tests.fuzz.budget import FIRST, TIMES, seeds
from tests.importing.sources import HOST, Page, real_file, write_mirror

STEPS = 5
ACTIVE, QUARANTINED = {"status": "active"}, {"status": "quarantined"}
STATUSES = [ACTIVE, ACTIVE, {"status": "archived", "reason": "done"}, {"status": "deprecated"}, QUARANTINED]
REASONS = [False, False, True, "broken", "a reason, “quoted” <b>", "x" * 1100, "tab\there"]
VERSIONS = ["1.0", "1.0.0", "1.0-rc1", "2.0b1", "2004d", "2.0.post1", "0.1+local.1"]
FORMS = [
    *(
        "{n}-{v}.tar.gz",
        "{n}-{v}.zip",
        "{n}_{v}.tar.bz2",
        "{N}-{v}-py2.7.egg",
        "{n}-{v}.win32-py2.6.exe",
        "{n} {v}.zip",
    ),
    *("{n}-{v}-py3-none-any.whl", "{N}-{v}-py3-none-any.whl", "{n}-{v}-1-py2.py3-none-any.whl", "{n}-{v}-1.src.rpm"),
]
SPECIFIERS = [None, ">=3.8", ">=3.6.*", ">=2.7,!=3.0*", ""]


class Story:
    """A source with two projects, and what the ledger is to show of it."""

    def __init__(self, random: Random, index: Index, folder: Path) -> None:
        self._random = random
        self._index = index
        self._folder = folder
        self._files: dict[str, dict[str, Page]] = {"six": {}, "seven": {}}
        self._status = dict.fromkeys(self._files, ACTIVE)
        self._ever: dict[str, Page] = {}  # a file that comes back is the same
        self._gone: set[str] = set()
        self._here: dict[str, set[str]] = {name: set() for name in self._files}
        self._known: set[str] = set()
        self._by_hand: set[int] = set()
        self._dated: set[str] = set()

    def step(self) -> None:
        """Change the source, and perhaps the ledger, and import."""
        for name in self._files:
            was_quarantined = self._status[name] == QUARANTINED
            for _ in range(self._random.randrange(4)):
                self._random.choice([self._add, self._add, self._yank, self._drop])(name)
            if self._random.random() < 0.3:
                self._status[name] = self._random.choice(STATUSES)
            if was_quarantined and self._status[name] != QUARANTINED:
                self._index.publish()
                self._do("status", name, "active")  # which no import does
        if self._random.random() < 0.5:
            self._change_ledger()
        pages = {name: self._page(name) for name in self._files}
        html = self._random.random() < 0.3
        write_mirror(self._folder, pages, html=html)
        listed = {entry["filename"] for page in pages.values() for entry in page["files"]}
        if not html:
            self._dated |= listed - self._known
        self._known |= listed
        for name in self._files:
            if self._status[name] != QUARANTINED:
                self._gone |= self._here[name] - listed
                self._here[name] |= listed & self._files[name].keys()
        done = self._index.ask("import", self._folder, "--remove-missing")[-1]
        assert done["refused"] == 0
        again = self._index.ask("import", self._folder, "--remove-missing")[-1]
        assert again["events"] == 0, again
        if self._random.random() < 0.6:
            self._index.publish()

    def check(self) -> None:
        """The pages of both say the same."""
        self._index.publish()
        vain = {each["record"] for each in self._index.ask_list("rejected", "--all") if each["log"] == "events"}
        assert vain <= self._by_hand, "an import appends nothing that has no effect"
        for name, files in self._files.items():
            path = self._index.public / f"targets/simple/{name}/index.json"
            page = json.loads(path.read_bytes())
            assert page["project-status"] == self._status[name]
            hidden = self._status[name] == QUARANTINED
            wanted = {} if hidden else {each: entry for each, entry in files.items() if each not in self._gone}
            assert {entry["filename"] for entry in page["files"]} == set(wanted)
            for entry in page["files"]:
                said = wanted[entry["filename"]]
                assert entry["requires-python"] == (said["requires-python"] or None)
                assert entry["yanked"] == cleaned(said["yanked"])
                assert entry["hashes"] == said["hashes"]
                assert entry["size"] == said["size"]
                if entry["filename"] in self._dated:
                    assert entry["upload-time"] == said["upload-time"]

    def _page(self, name: str) -> Page:
        hidden = self._status[name] == QUARANTINED
        entries = [] if hidden else list(self._files[name].values())
        return {"meta": {"api-version": "1.4"}, "name": name, "files": entries, "project-status": self._status[name]}

    def _add(self, name: str) -> None:
        if self._status[name]["status"] != "active":
            self._status[name] = ACTIVE  # an archived project takes no files, in any index
        version = self._random.choice(VERSIONS)
        filename = self._random.choice(FORMS).format(n=name, N=name.title(), v=version)
        year, month = self._random.randrange(2010, 2026), self._random.randrange(1, 10)
        content = f"{name} {filename}".encode()
        entry, _ = real_file(filename, content, **{"upload-time": f"{year}-0{month}-03T04:05:06.7Z"})
        path = self._folder / entry["url"].removeprefix(f"{HOST}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        entry |= {"requires-python": self._random.choice(SPECIFIERS), "yanked": self._random.choice(REASONS)}
        self._files[name].setdefault(filename, self._ever.setdefault(filename, entry))

    def _yank(self, name: str) -> None:
        if self._files[name]:
            self._files[name][self._random.choice(sorted(self._files[name]))]["yanked"] = self._random.choice(REASONS)

    def _drop(self, name: str) -> None:
        if self._files[name] and self._random.random() < 0.4:
            filename = self._random.choice(sorted(self._files[name]))
            del self._files[name][filename]

    def _change_ledger(self) -> None:
        """What people do here: the next import takes it back, but for what they removed."""
        name = self._random.choice(sorted(self._files))
        version = self._random.choice(VERSIONS)
        what = self._random.choice(["yank", "unyank", "status", "remove"])
        if what == "status":
            self._do("status", name, "archived", "--reason", "by hand")
        elif what == "remove" and self._files[name]:
            filename = self._random.choice(sorted(self._files[name]))
            self._index.publish()
            if self._do("remove", filename):
                self._gone.add(filename)
        else:
            self._do("unyank" if what == "unyank" else "yank", f"{name}=={version}")

    def _do(self, command: str, *arguments: str) -> bool:
        """Run a command, if the ledger lets it; whether it appended something."""
        said = [
            json.loads(line)
            for line in self._index.run(command, "--json", *arguments, answer=None).splitlines()
            if line.startswith("{")
        ]
        done = {each["event"] for each in said if "event" in each}
        self._by_hand |= done
        return bool(done)


def cleaned(yanked: bool | str) -> bool | str:
    """A reason as docs/rules.md, section 2, has it."""
    if not isinstance(yanked, str):
        return yanked
    cut = yanked if len(yanked) <= 1000 else f"{yanked[:999]}…"
    return cut.replace("\t", "\ufffd")


def play(seed: int, folder: Path) -> None:
    index = Index.create(folder / "index", "--importing")
    story = Story(Random(seed), index, folder / "source")
    for _ in range(STEPS):
        story.step()
        silence()
    story.check()


@pytest.mark.parametrize("seed", seeds(3))
def test_pages_say_the_same(seed: int, tmp_path: Path) -> None:
    play(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FIRST + 100, FIRST + 100 + int(40 * TIMES)))
def test_many_say_the_same(seed: int, tmp_path: Path) -> None:
    play(seed, tmp_path)
