"""Who holds the index's credential: events as they should be, nearly so, and not at all."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from projections.roles.authority import Authority
from schemas import events
from tests import factory
from tests.factory import Files, Make, Team, digest, ed25519_signer
from tests.fuzz.mutating import Members, dump, load, mutate, mutate_json

PROJECTS = ["a", "a", "a", "a-b", "a-b", "a-b-c", "con", "index", "simple", "0", "x" * 200]
VERSIONS = ["1", "1.0", "1.00", "v1", "2", "1!0", "1.0+local-1", "1.0-1", "1.post1", "9" * 100, "dev", "1..0"]
TARGETS = [
    "a",
    "simple",
    "packages",
    "Simple/a/index.json",
    "simple/a/index.json",
    "packages/00/00/00/a-1.tar.gz",
    "tools/con",
    "tools/aux.",
    "tools/a b",
    "a'b;c&d=e",
    "[a]*{b}",
    "metadata/timestamp.json",
    "1.root.json",
    "a/b/c/d/e/f/g/h",
    "x" * 190,
    "/".join(["y" * 60] * 8),
]
REASONS = [
    None,
    "",
    "Broken",
    "\x00\x1b[31m",
    "\u202e\ufeff",
    "x" * 5000,
    '</a><script>"&',
    "e\u0301",
    "\U0001f600" * 999,
]
FORMS = [
    "{}-{}.tar.gz",
    "{}-{}.zip",
    "{}-{}-py3-none-any.whl",
    "{}-{}-1-py3-none-any.whl",
    "{}-{}.exe",
    "{}-{}.whl.metadata",
    "{}-{}.",
    "{}--{}.tar.gz",
]


class Index:
    """Appends events, with a memory of what was appended before."""

    def __init__(self, rng: Random, make: Make) -> None:
        self.rng = rng
        self.make = make
        self.corpus: list[bytes] = []
        self.ceremonies: list[Files] = []

    def batch(self, count: int, team: Team, authority: Authority | None) -> list[bytes | None]:
        """So many records."""
        return [self._one(team, authority) for _ in range(count)]

    def _one(self, team: Team, authority: Authority | None) -> bytes | None:
        rng = self.rng
        kind = rng.randrange(20)
        if kind < 9 or not self.corpus:
            return self._remembered(factory.encode([self._good()])[0])
        if kind < 11:
            return self._remembered(factory.encode([self.good_with_taken_id()])[0])
        if kind < 12:
            return rng.choice(self.corpus)
        if kind < 13:
            return self._remembered(self.roles_signed(self.forged(team, authority)))
        if kind < 14:
            return self._crossed()
        return mutate(rng, rng.choice(self.corpus))

    def _remembered(self, value: bytes) -> bytes:
        self.corpus.append(value)
        return value

    def _good(self, make: Make | None = None) -> events.BaseEvent:
        rng, make = self.rng, make or self.make
        kind = rng.randrange(10)
        if kind < 4:
            project, version = rng.choice(PROJECTS), rng.choice(VERSIONS)
            return self.upload(make, project, version, self.filename(project, version))
        return self._about_project(make) if kind < 8 else self._about_others(make)

    def _about_project(self, make: Make) -> events.BaseEvent:
        rng, reason = self.rng, self.rng.choice(REASONS)
        project, filename, version, sha256 = self.known_file()
        made: list[Callable[[], events.BaseEvent]] = [
            lambda: make.project_created(project),
            lambda: make.project_status_changed(
                project, rng.choice(["active", "active", "archived", "quarantined", "deprecated"]), reason
            ),
            lambda: make.project_removed(project, reason),
            *[lambda: make.file_removed(project, filename, reason)] * 2,
            *[lambda: make.file_restored(project, filename, sha256)] * 3,
            lambda: make.file_yanked(project, filename, reason),
            lambda: make.file_unyanked(project, filename),
            lambda: make.release_removed(project, version, reason),
            lambda: make.release_yanked(project, version, reason),
            lambda: make.release_unyanked(project, version),
            lambda: make.release_quarantined(project, version, reason),
            lambda: make.release_quarantine_cleared(project, version),
        ]
        return rng.choice(made)()

    def _about_others(self, make: Make) -> events.BaseEvent:
        rng, reason = self.rng, self.rng.choice(REASONS)
        made: list[Callable[[], events.BaseEvent]] = [
            *[lambda: make.target_added(rng.choice(TARGETS), rng.choice("xyz"), rng.choice([0, 1, 2**53]))] * 4,
            *[lambda: make.target_removed(rng.choice(TARGETS))] * 3,
            lambda: make.access(rng.choice(["granted", "revoked", "noted"]), rng.choice(PROJECTS), note=reason),
            lambda: make.incident_opened(rng.choice("xy"), reason or ""),
            lambda: make.incident_noted(rng.choice("xy"), reason or "", events=(0, 2**53)),
            lambda: make.incident_closed(rng.choice("xy")),
            lambda: make.opening_erased(rng.choice("xy"), ["ip"] * rng.choice([0, 1, 1000])),
        ]
        return rng.choice(made)()

    def good_with_taken_id(self) -> events.BaseEvent:
        return self._good(self.make.having(id=self.rng.choice(["taken", "event-000005", "event-000009"])))

    def filename(self, project: str, version: str) -> str:
        name = self.rng.choice([project, project, project.replace("-", "_"), project.upper(), "a"])
        return self.rng.choice(FORMS[:3] * 3 + FORMS).format(name[:90], version)[:190]

    def upload(self, make: Make, project: str, version: str, filename: str) -> events.FileUploaded:
        rng = self.rng
        path = filename if rng.randrange(4) else "shared"
        data: dict[str, Any] = {
            "filename": filename,
            "length": rng.choice([0, 1, 1, 1, 2**53]),
            "hashes": events.Hashes(sha256=digest(rng.choice("xxy")), blake2b_256=digest(f"blake2b {path}")),
            "legacy": rng.randrange(3) == 0,
        }
        if rng.randrange(4) == 0:
            data |= {
                "requires_python": rng.choice(['>=3.11,<"4"&\'', " ", "x" * 512]),
                "core_metadata_sha256": digest("metadata"),
                "provenance_sha256": digest("provenance"),
                "commitments": {"ip": digest("ip")},
            }
        return make.file_uploaded(project, version, **data)

    def known_file(self) -> tuple[str, str, str, str]:
        """Project, name, version and digest of a file that somebody uploaded; rarely of one that nobody did."""
        rng = self.rng
        uploads = [value for value in self.corpus[-60:] if value.startswith(b'{"type":"file.uploaded.v1"')]
        if not uploads or rng.randrange(8) == 0:
            return rng.choice(PROJECTS), "a-1.0.tar.gz", rng.choice(VERSIONS), digest("x")
        event = json.loads(rng.choice(uploads))
        data = event["data"]
        version = rng.choice([data["version"]] * 3 + VERSIONS)
        return event["subject"], data["filename"], version, data["hashes"]["sha256"]

    def _crossed(self) -> bytes | None:
        """The data of one event under the attributes of another."""
        first, second = (load(self.rng.choice(self.corpus)) for _ in range(2))
        names = self.rng.sample([name for name, _ in first], self.rng.choice([1, 2]))
        return dump(
            Members(
                [
                    *((name, each) for name, each in first if name not in names),
                    *((name, each) for name, each in second if name in names),
                ]
            )
        )

    # --- ceremonies that nobody held -----------------------------------------------------------------------------

    def roles_signed(self, files: Files) -> bytes:
        empty = factory.encode([self.make.roles_signed({})])[0]
        return empty.replace(b'"roles":{}', b'"roles":' + json.dumps(files).encode())

    def forged(self, team: Team, authority: Authority | None) -> Files:
        """Documents that must not be accepted, or repeat what is in force."""
        rng = self.rng
        thief = (ed25519_signer("thief"),)
        stolen = team.but(
            root=thief, targets=thief, bins=thief, root_threshold=1, targets_threshold=1, bins_threshold=1
        )
        made: list[Callable[[], Files]] = [
            lambda: factory.ceremony(stolen, authority),
            lambda: factory.sign_all(factory.drafts(team.but(online=thief), authority), stolen),
            lambda: factory.sign_all(factory.drafts(team, authority, everything=True), stolen),
            lambda: factory.sign_all(factory.drafts(team.but(online=thief), authority), team.but(bins=thief)),
        ]
        if authority is not None:
            in_force = {document.role: json.loads(document.file) for document in authority.documents}
            made += [
                lambda: in_force,
                lambda: {role: in_force[role] for role in rng.sample(sorted(in_force), rng.randrange(4))},
                lambda: self._damaged(in_force),
                lambda: self._damaged(in_force),
            ]
        if self.ceremonies:
            made.append(lambda: rng.choice(self.ceremonies))
            made.append(lambda: self._damaged(rng.choice(self.ceremonies)))
        return rng.choice(made)()

    def _damaged(self, files: Files) -> Files:
        role = self.rng.choice(sorted(files))
        try:
            changed = json.loads(mutate_json(self.rng, json.dumps(files[role]).encode()))
        except ValueError:
            changed = {}
        return {**files, role: changed if isinstance(changed, dict) else {}}
