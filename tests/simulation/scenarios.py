"""Scenarios: what the index, its operators and strangers do, drawn from a seed.

A scenario is a list of actions. Each is taken when everything is at rest, or, where turns are drawn, at any moment.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from securesystemslib.signer import CryptoSigner

from consumers.limits import LIMITS, Limits
from projections.log.holds import lock_of
from projections.log.prefix import Prefix
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from schemas import events
from schemas.codec import encode_event
from tests import factory
from tests.factory import Make, Team
from tests.simulation.strangers import STRANGERS, Stranger, former_key, stolen_claim


@dataclass(frozen=True)
class Append:
    """The index, or a ceremony, appends events."""

    values: tuple[bytes | None, ...]


@dataclass(frozen=True)
class Intrude:
    """Somebody without a key appends to `publications`."""

    make: Stranger


@dataclass(frozen=True)
class Advance:
    """Time passes."""

    seconds: int


@dataclass(frozen=True)
class Restart:
    """A process is stopped cleanly and started again, perhaps without its state: it may be deleted at any time."""

    index: int
    forgets: bool = False


@dataclass(frozen=True)
class Forge:
    """A thief with the online keys appends a publication that its events do not make: everybody halts."""


@dataclass(frozen=True)
class Void:
    """The owners of root void it, and start everybody again."""

    team: Team
    make: Make


Action = Append | Intrude | Advance | Restart | Forge | Void


@dataclass(frozen=True)
class Sizes:
    """How much is done at once. None of it shapes a byte; small ones make a small scenario take every path."""

    limits: Limits = LIMITS
    read_records: int = 1000
    many_rows: int = 4096
    length_above: int = 2_000_000
    """Except this one, which is part of the ruleset: smaller, it brings lengths into snapshots."""


SMALL = Sizes(
    Limits(
        skip_from=3,
        items_per_partition=3,
        buffered_items=1,
        projects_at_once=2,
        bins_at_once=2,
        tail_bytes=3000,
        page_bytes=800,
        files_per_chunk=2,
        names_per_chunk=2,
    ),
    read_records=3,
    many_rows=20,
)


def _sizes(rng: random.Random) -> Sizes:
    sizes = SMALL if rng.random() < 0.7 else Sizes()
    limits = sizes.limits._replace(skip_from=rng.choice([1, 3, 16]))
    return replace(sizes, limits=limits, length_above=rng.choice([600, 2_000_000]))


@dataclass(frozen=True)
class Scenario:
    """What happens, and with which keys and sizes."""

    seed: int
    actions: tuple[Action, ...]
    keys: tuple[CryptoSigner, ...]
    repeating: bool
    sizes: Sizes
    grace_seconds: float
    interval_seconds: float
    project_events: tuple[tuple[int, bytes], ...] = field(repr=False)
    """Well-formed events about projects and targets by index, for the naive model of the rules."""


BIN_EXPIRY_SECONDS = 4000
ONLINE_KEYS = ("online 1", "online 2", "online 3", "online 4")
PROJECTS = ("a", "a-b", "c", "demo")
VERSIONS = ("1", "1.0", "2")
SECOND = "the second bytes of a file"
FREEABLE = [
    (factory.digest(content), project, f"{project}-{version}.tar.gz")
    for project in PROJECTS
    for version in VERSIONS
    for content in (f"{project}-{version}.tar.gz", SECOND)
]
"""Files that every root allows to be freed."""
STATUSES: tuple[Literal["active", "archived", "quarantined", "deprecated"], ...]
STATUSES = ("active", "archived", "quarantined", "deprecated")
REASONS = (None, "", "Broken", "Vuln\u00e9rable\x00")


def scenario(seed: int, *, length: int | None = None, has_thief: bool = False) -> Scenario:
    """The scenario of a seed."""
    return _Writer(random.Random(f"scenario {seed}")).write(seed, length, has_thief=has_thief)


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._make = Make()
        self._actions: list[Action] = []
        self._prefix = Prefix()
        self._appended: list[bytes] = []
        self._model: list[tuple[int, bytes]] = []
        self._holds: list[tuple[str, str | None]] = []
        self._unseen = 0  # records that are made only when it comes to them
        make_key = factory.ecdsa_signer if rng.random() < 0.2 else factory.ed25519_signer
        self._repeating = make_key is factory.ed25519_signer
        self._keys = [make_key(name) for name in ONLINE_KEYS]
        online = tuple(self._keys[: rng.choice([1, 1, 2])])
        self._next_key = len(online)
        settings = Settings(
            ruleset=0,
            bin_expiry_seconds=BIN_EXPIRY_SECONDS,
            snapshot_expiry_seconds=1500,
            timestamp_expiry_seconds=1000,
            html_pages=rng.random() < 0.3,
            project_list_seconds=rng.choice([0, 300, 300]),
            freeable=(factory.freeable_root(FREEABLE),),
        )
        layout = Layout(rng.choice([1, 2, 3]), succinct=rng.random() < 0.7)
        self._team = Team(online=online, online_threshold=rng.randint(1, len(online)), layout=layout, settings=settings)

    def write(self, seed: int, length: int | None, *, has_thief: bool) -> Scenario:
        rng = self._rng
        self._begin()
        for _ in range(length or rng.randint(4, 9)):
            rng.choices(
                [self._batch, self._intrude, self._advance, self._ceremony, self._hold, self._restart, self._large],
                [8, 3, 3, 4, 1, 1, 1],
            )[0]()
        if self._holds:
            self._append([self._make.signing_released(hold, secret=secret) for hold, secret in self._holds])
        if has_thief:
            self._actions += [Forge(), Void(self._team, self._make.having(id="the-void"))]
            self._unseen = 1
            self._batch()
        return Scenario(
            seed,
            tuple(self._actions),
            tuple(self._keys),
            self._repeating,
            _sizes(rng),
            rng.choice([0.0, 0.0, 5.0]),
            rng.choice([0.0, 1.0]),
            tuple(self._model),
        )

    # --- events --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        first, ceremony = factory.beginning(self._make, self._team)
        early: list[bytes | None] = [None, b"garbage", encode_event(self._make.project_created("early"))]
        values = [first, *(early if self._rng.random() < 0.3 else []), ceremony]
        self._put(values, split=self._rng.random() < 0.3)

    def _append(self, made: Iterable[events.BaseEvent]) -> None:
        self._put([encode_event(event) for event in made])

    def _put(self, values: list[bytes | None], *, split: bool = False) -> None:
        if not values:
            return
        for group in [[value] for value in values] if split else [values]:
            size = self._prefix.size
            self._prefix, extension = self._prefix.extend(group)
            routed = {item.index for item in extension.routed}
            for index, value in enumerate(group, size):
                if value is not None:
                    self._appended.append(value)
                    if index in routed and b'"type":"incident' not in value and b'"type":"access' not in value:
                        self._model.append((index + self._unseen, value))
            self._actions.append(Append(tuple(group)))

    def _batch(self) -> None:
        values = [self._value() for _ in range(self._rng.randint(1, 6))]
        if self._rng.random() < 0.15:
            values += factory.encode(self._renewal())
        self._put(values, split=self._rng.random() < 0.2)

    def _large(self) -> None:
        self._put([self._value() for _ in range(self._rng.randint(20, 40))])

    def _value(self) -> bytes | None:
        rng = self._rng
        chance = rng.random()
        if chance < 0.1:
            return self._garbage()
        if chance < 0.15:
            return rng.choice(self._appended[1:])
        return encode_event(self._event())

    def _garbage(self) -> bytes | None:
        rng = self._rng
        some = rng.choice(self._appended[1:])
        return rng.choice([None, b"", b"garbage", some[:-1], b"[" * 40, b'{"type":"no.such.v1"}', b"x" * 65_536, b"{}"])

    def _event(self) -> events.BaseEvent:
        rng, make = self._rng, self._make
        project, version, reason = rng.choice(PROJECTS), rng.choice(VERSIONS), rng.choice(REASONS)
        filename = f"{project}-{version}.tar.gz"
        withhold = rng.random() < 0.5
        if rng.random() < 0.35:
            return self._upload(project, version)
        status = rng.choice(STATUSES)
        made: list[Callable[[], events.BaseEvent]] = [
            lambda: make.project_created(project),
            lambda: make.project_status_changed(project, status, reason),
            lambda: make.project_removed(project, reason, withhold=withhold),
            lambda: make.file_removed(project, filename, withhold=withhold),
            lambda: make.file_restored(project, filename),
            lambda: self._freed(project, version),
            lambda: make.file_yanked(project, filename, reason),
            lambda: make.file_unyanked(project, filename),
            lambda: make.release_removed(project, version, withhold=withhold),
            lambda: make.release_yanked(project, version, reason),
            lambda: make.release_unyanked(project, version),
            lambda: make.release_quarantined(project, version, reason),
            lambda: make.release_quarantine_cleared(project, version),
            lambda: make.target_added(f"tools/{project}.txt", rng.choice("xy"), length=1),
            lambda: make.target_removed(f"tools/{project}.txt", withhold=withhold),
            make.incident_opened,
            lambda: make.access("granted"),
        ]
        return rng.choice(made)()

    def _upload(self, project: str, version: str) -> events.BaseEvent:
        """A file, by chance with other bytes than its first ones."""
        data: dict[str, Any] = {
            "length": len(f"{project}-{version}.tar.gz"),
            "requires_python": self._rng.choice([None, None, None, ">=3.11"]),
        }
        if self._rng.random() < 0.3:
            data["length"] = len(SECOND)
            blake = factory.digest(f"blake2b {project}-{version}.tar.gz")
            data["hashes"] = events.Hashes(
                sha256=factory.digest(SECOND), blake2b_256=self._rng.choice([blake, blake[::-1]])
            )
        return self._make.file_uploaded(project, version, **data)

    def _freed(self, project: str, version: str) -> events.BaseEvent:
        file = self._rng.choice([each for each in FREEABLE if each[2] == f"{project}-{version}.tar.gz"])
        return self._make.file_freed(project, file[2], file[0], factory.proof_of(FREEABLE, file))

    def _renewal(self) -> list[events.BaseEvent]:
        """A file is removed, freed and uploaded anew."""
        project, version = self._rng.choice(PROJECTS), self._rng.choice(VERSIONS)
        removed = self._make.file_removed(project, f"{project}-{version}.tar.gz", withhold=self._rng.random() < 0.5)
        return [removed, self._freed(project, version), self._upload(project, version)]

    # --- operators -----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._actions.append(Advance(self._rng.choice([30, 310, 600, 1100, BIN_EXPIRY_SECONDS // 2, 5000])))

    def _restart(self) -> None:
        self._actions.append(Restart(self._rng.randint(0, 9), self._rng.random() < 0.5))

    def _hold(self) -> None:
        size = self._rng.choice([None, self._prefix.size, self._prefix.size + 2, max(0, self._prefix.size - 2)])
        secret = self._rng.choice([None, "5e" * 32])
        hold = self._make.signing_held(size, lock=None if secret is None else lock_of(secret))
        self._append([hold])
        self._holds.append((hold.id, secret))
        if self._rng.random() < 0.2:
            self._sign(self._team.but(settings=_but(self._team.settings, holds_end=self._prefix.size)))
        if self._rng.random() < 0.2:
            self._append([self._make.signing_released(self._rng.choice(self._holds)[0], secret="0a" * 32)])

    def _ceremony(self) -> None:
        rng, team = self._rng, self._team
        settings = team.settings
        chance = rng.random()
        if chance < 0.3 and self._next_key < len(self._keys):
            new = self._keys[self._next_key]
            self._next_key += 1
            if rng.random() < 0.7:  # planned: old and new keys first
                self._sign(team.but(online=(*team.online, new), online_threshold=1))
                if rng.random() < 0.7:
                    self._batch()
            elif rng.random() < 0.5:  # in an emergency, perhaps in a new time
                settings = _but(settings, time_from=factory.instant(self._next_key))
            self._sign(team.but(online=(new,), online_threshold=1, settings=settings))
        elif chance < 0.6:
            layout = Layout(rng.choice([1, 2, 3, 4]), rng.choice(["bin", "b"]), succinct=rng.random() < 0.7)
            self._sign(team.but(layout=layout))
        elif chance < 0.8:
            self._sign(team.but(settings=_but(settings, html_pages=not settings.html_pages)))
        elif chance < 0.9:
            self._sign(team.but(settings=_but(settings, floor=settings.floor + rng.choice([0, 3, 50]))))
        else:
            self._sign(team.but(settings=_but(settings, project_list_seconds=rng.choice([0, 100, 3600]))))

    def _sign(self, team: Team) -> None:
        files = factory.ceremony(team, self._prefix.authority, self._team)
        self._append([self._make.roles_signed(files)])
        self._team = team

    # --- strangers -----------------------------------------------------------------------------------------------

    def _intrude(self) -> None:
        thief = former_key(self._keys, random.Random(f"thief {self._rng.random()}"))
        self._actions.append(Intrude(self._rng.choice([*STRANGERS, thief, thief, thief])))


def break_in(*, at_once: bool) -> Scenario:
    """Events are held, the online key is stolen and replaced, lies are undone, and the hold is released."""
    make, keys = Make(), tuple(factory.ed25519_signer(name) for name in ONLINE_KEYS)
    settings = Settings(
        ruleset=0,
        bin_expiry_seconds=BIN_EXPIRY_SECONDS,
        snapshot_expiry_seconds=1500,
        timestamp_expiry_seconds=1000,
        project_list_seconds=0,
    )
    team = Team(online=keys[:1], layout=Layout(2), settings=settings)
    beginning = factory.beginning(make, team)
    prefix, _ = Prefix().extend(beginning)
    secret = "5e" * 32
    hold = make.signing_held(lock=lock_of(secret))
    replaced = factory.ceremony(team.but(online=keys[1:2]), prefix.authority, team)
    made = [
        make.file_uploaded("honest"),
        hold,
        make.file_uploaded("lie"),
        make.file_uploaded("honest", "2.0"),
        make.signing_released(hold.id),  # by the thief, who does not know the secret
        make.roles_signed(replaced),
        make.file_removed("lie", "lie-1.0.tar.gz"),
        make.signing_released(hold.id, secret=secret),
    ]
    values = [encode_event(event) for event in made]
    steps: list[Action] = [Append((value,)) for value in values]
    stolen = Intrude(stolen_claim(keys[0]))
    actions: list[Action] = [Append(tuple(beginning)), *steps[:4], stolen, *steps[4:6], stolen]
    actions += [*([] if at_once else [Advance(600), Advance(600)]), *steps[6:7], stolen, *steps[7:]]
    about = [(index, value) for index, value in enumerate(values, 2) if b'"file.' in value]
    return Scenario(0, tuple(actions), keys, True, SMALL, 0.0, 0.0, tuple(about))


def _but(settings: Settings, **changes: Any) -> Settings:
    return Settings(**{name: getattr(settings, name) for name in settings.__struct_fields__} | changes)
