"""What a story of an incident consists of. Times are instants as in records; all else is what records say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b, sha256
from itertools import chain
from typing import Any, Literal, NamedTuple

from schemas.events import ActorKind

FIRST_DEED = 2
"""The index of a story's first event: before it are `ledger.created` and the first roles."""


class Deed(NamedTuple):
    """One event: by whom, of which type, about what.

    Attributes:
        by: who did it.
        type: the event's type.
        subject: what it is about.
        data: the event's data.
        says_time: the time that the event says; empty: when it is appended.
        is_suspect: it belongs to the incident.
        files: what is stored for it, by file name: the distribution, and its provenance if it has one.
    """

    by: "Hand"
    type: str
    subject: str
    data: Mapping[str, Any]
    says_time: str = ""
    is_suspect: bool = False
    files: tuple[bytes, bytes | None] | None = None

    def event(self, event_id: str, time: str) -> dict[str, Any]:
        """The event, as it is appended: its id, and the time that it says."""
        found: dict[str, Any] = {
            "specversion": "1.0",
            "id": event_id,
            "source": "/rehearsal",
            "type": self.type,
            "subject": self.subject,
            "time": time,
            "actorkind": self.by.kind,
            "actorid": self.by.name,
            "data": self.data,
        }
        return found if self.by.credential is None else {**found, "actorcredential": self.by.credential}

    @property
    def bad(self) -> "Deed":
        """The same, as a part of the incident."""
        return self._replace(is_suspect=True)

    @property
    def refused(self) -> "Deed":
        """The same, and the index does not keep the file: it is to be rejected."""
        return self._replace(files=None)

    def claiming(self, time: str) -> "Deed":
        """The same, with another time than it has."""
        return self._replace(says_time=time)


class Act(NamedTuple):
    """Events that are appended together, at a time, and so many seconds later their publication (None: they wait for
    the publication of a later act).
    """

    at: str
    deeds: tuple[Deed, ...]
    published_after: int | None = 7


class Tampering(NamedTuple):
    """Something that happens behind the ledger's back, at a time. The log has nothing of it.

    Attributes:
        at: when.
        what: `copy`: a folder is copied to another one, which is replaced if it is there. `change`: one byte of a
            file is changed. `place`: a file is written. `forge`: with the online key, somebody signs a timestamp, a
            snapshot and a bin of a version far ahead, which expire late, into a folder that is served. `forge-root`:
            with the keys in `stolen`, somebody signs the next root into such a folder. `steal`: the first key files
            of a folder are copied to `stolen`. `spare`: fresh keys are made in a folder. `append`: events are
            appended to the log in a folder.
        path: the file or folder, below the ledger's folder.
        target: the other folder, the content, the version, or the number of keys.
        deeds: the events that are appended.
    """

    at: str
    what: Literal["copy", "change", "place", "forge", "forge-root", "steal", "spare", "append"]
    path: str
    target: str = ""
    deeds: tuple[Deed, ...] = ()


class Reach(NamedTuple):
    """From when until when publications offered a file, and the time of the first one without it (empty: none yet)."""

    file: str
    first: str
    gone: str


class CommandLine(NamedTuple):
    """A command of the answer, without `tuf-ledger`; what it is for; the exit code that it ends with. With `is_shell`,
    it is a command of a POSIX shell.
    """

    text: str
    why: str
    exit_code: int = 0
    is_shell: bool = False

    @property
    def whole(self) -> str:
        """The line, as it is typed."""
        return self.text if self.is_shell else f"tuf-ledger {self.text}"


class Sealed(NamedTuple):
    """The answer of a story.

    Attributes:
        text: the answer to the question, for people.
        reaches: the exposure of each bad file.
        clean: the files that clients are offered in the end, by project.
        residuals: what the plan leaves undone: about what, its name, the code.
        elsewhere: what has to happen outside of the ledger.
    """

    text: str
    reaches: tuple[Reach, ...] = ()
    clean: Mapping[str, tuple[str, ...]] = {}
    residuals: tuple[tuple[str, str, str], ...] = ()
    elsewhere: tuple[str, ...] = ()


class Story(NamedTuple):
    """An incident to rehearse. All dates in its texts are moved when it is played.

    Attributes:
        name: its name on the command line, and that of its page in docs/incidents.
        title: what it is about, in a line, and after what it is made.
        told_at: when the team is told. The story ends there.
        told: what the team is told.
        question: what it must find out.
        acts: what happened, in order.
        lines: the commands that lead to the answer.
        answer: the answer.
        written: files that the commands need, which the responder writes: their contents, by name.
    """

    name: str
    title: str
    told_at: str
    told: str
    question: str
    acts: tuple[Act | Tampering, ...]
    lines: tuple[CommandLine, ...]
    answer: Sealed
    written: Mapping[str, str] = {}

    @property
    def is_on_log(self) -> bool:
        """Whether the log has all that happened."""
        return all(isinstance(act, Act) for act in self.acts)

    @property
    def suspects(self) -> list[int]:
        """The indices of the events that belong to the incident."""
        deeds = (deed for act in self.acts if isinstance(act, Act) for deed in act.deeds)
        return [index for index, deed in enumerate(deeds, FIRST_DEED) if deed.is_suspect]


class Hand(NamedTuple):
    """Somebody who acts: of which kind, by which name, and with which credential."""

    kind: ActorKind
    name: str
    credential: str | None = None

    def creates(self, project: str) -> Deed:
        """A new project."""
        return Deed(self, "project.created.v1", project, {})

    def uploads(
        self, project: str, version: str, *, says: str = "", wheel: str = "py3-none-any", attested: bool = False
    ) -> Deed:
        """A file of a release: a wheel of these tags, or (without tags) a source distribution. What it says makes its
        bytes different.
        """
        stem = f"{project.replace('-', '_')}-{version}"
        filename = f"{stem}-{wheel}.whl" if wheel else f"{stem}.tar.gz"
        content = f"{filename}\n{says}\n".encode()
        provenance = f"provenance of {filename}: {self.name}\n".encode() if attested else None
        digests = {
            "sha256": sha256(content).hexdigest(),
            "blake2b_256": blake2b(content, digest_size=32).hexdigest(),
        }
        data: dict[str, Any] = {"filename": filename, "version": version, "length": len(content), "hashes": digests}
        if provenance is not None:
            data["provenance_sha256"] = sha256(provenance).hexdigest()
        return Deed(self, "file.uploaded.v1", project, data, files=(content, provenance))

    def changes_status(self, project: str, status: str, reason: str | None = None) -> Deed:
        """The project has another status: `quarantined` hides it."""
        return Deed(self, "project.status_changed.v1", project, _given(status=status, reason=reason))

    def removes_project(self, project: str) -> Deed:
        """A project is removed."""
        return Deed(self, "project.removed.v1", project, {})

    def yanks_release(self, project: str, version: str, reason: str | None = None) -> Deed:
        """A release is yanked."""
        return Deed(self, "release.yanked.v1", project, _given(version=version, reason=reason))

    def removes_release(self, project: str, version: str, reason: str | None = None) -> Deed:
        """A release is removed."""
        return Deed(self, "release.removed.v1", project, _given(version=version, reason=reason))

    def grants(self, kind: str, account: str, *, project: str | None = None, credential: str | None = None) -> Deed:
        """Somebody may act."""
        return self._access("granted", kind, account, project, credential)

    def revokes(self, kind: str, account: str, *, project: str | None = None, credential: str | None = None) -> Deed:
        """Somebody may no longer act."""
        return self._access("revoked", kind, account, project, credential)

    def notes(self, kind: str, account: str, *, credential: str | None = None, note: str | None = None) -> Deed:
        """Something about access happened: a sign-in, a new account."""
        return Deed(
            self, "access.noted.v1", account, _given(kind=kind, account=account, credential=credential, note=note)
        )

    def _access(self, act: str, kind: str, account: str, project: str | None, credential: str | None) -> Deed:
        data = _given(kind=kind, account=account, project=project, credential=credential)
        return Deed(self, f"access.{act}.v1", account, data)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


ADMINISTRATORS = Hand("administrator", "index-admin")
"""The index itself: it creates projects and grants rights on its users' behalf."""


def begins(project: str, *hands: Hand) -> tuple[Deed, ...]:
    """A new project, with the rights of those who may act for it."""
    deeds = [ADMINISTRATORS.creates(project)]
    for hand in hands:
        if hand.kind == "trusted-publisher":
            deeds.append(ADMINISTRATORS.grants("trusted-publisher", hand.name, project=project))
            continue
        deeds.append(ADMINISTRATORS.grants("collaborator", hand.name, project=project))
        if hand.credential is not None:
            deeds.append(ADMINISTRATORS.grants("credential", hand.name, project=project, credential=hand.credential))
    return tuple(deeds)


def neighbours(days: Sequence[str]) -> Iterator[Act]:
    """Other projects of the index, with a release each day: they have nothing to do with the incident.

    Args:
        days: days as `2026-03-20`; the projects begin on the first one.
    """
    hands = [Hand("user", f"{name}-team", f"token:{name}-1") for name in _NEIGHBOURS]
    for number, day in enumerate(days):
        deeds: list[Deed] = []
        for project, hand in zip(_NEIGHBOURS, hands, strict=True):
            if number == 0:
                deeds.extend(begins(project, hand))
            deeds.append(hand.uploads(project, f"1.{number}"))
        yield Act(f"{day}T08:{10 + number:02}:00Z", tuple(deeds))


_NEIGHBOURS = ("almanac", "brickwork", "cartwheel")


def in_order(*acts: Iterable[Act | Tampering]) -> tuple[Act | Tampering, ...]:
    """All acts by their times."""
    return tuple(sorted(chain(*acts), key=lambda act: act.at))


def recovery(incident: str, *, is_held: bool = False) -> tuple[CommandLine, ...]:
    """The commands from a plan to the proof, where no signer runs. Beside a signer, one `recover` is enough."""
    recover = f"incident recover {incident} --plan plan.jsonl"
    first = f"{recover} --secret-file brake.secret" if is_held else recover
    released = ", and the hold is released" if is_held else ""
    return (
        CommandLine(
            f"{first} --wait-seconds 0", f"The steps are on the log{released}; no publication shows them yet.", 75
        ),
        CommandLine("publish", "What a running signer does by itself."),
        CommandLine(recover, "Proof: the publication shows the clean state, and three TUF clients get it."),
        CommandLine(f"incident close {incident} --plan plan.jsonl", "Record how it ended."),
    )
