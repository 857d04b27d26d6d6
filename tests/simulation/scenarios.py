"""Scenarios: what the index, its operators and strangers do, drawn from a seed.

A scenario is a list of actions. Each is taken when everything is at rest, or, where turns are drawn, at any moment.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from securesystemslib.signer import CryptoSigner

from projections.authority import Settings
from projections.bins import Layout
from projections.prefix import Prefix
from schemas import canonical, events
from schemas.codec import decode_publication_record, encode_event, encode_record, encode_signed
from schemas.publications import Claim, Record
from tests import factory
from tests.factory import Make, Team

Values = list[bytes | None]
Stranger = Callable[[Values, Values], bytes | None]
"""Makes a record for `publications` from what is on both logs."""


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
    """A process is stopped cleanly and started again."""

    index: int


Action = Append | Intrude | Advance | Restart


@dataclass(frozen=True)
class Sizes:
    """How much is done at once. None of it shapes a byte; small ones make a small scenario take every path."""

    items_per_partition: int = 20_000
    buffered_items: int = 256
    bins_per_group: int = 128
    projects_per_group: int = 500
    kept_bytes: int = 16 * 2**20
    read_records: int = 1000
    max_entries: int = 64
    skip_from: int = 16


SMALL = Sizes(3, 1, 2, 2, 3000, 3, 2, 3)


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
REASONS = (None, "", "Broken", "Vuln\u00e9rable\x00")


def scenario(seed: int, *, length: int | None = None) -> Scenario:
    """The scenario of a seed."""
    return _Writer(random.Random(f"scenario {seed}")).write(seed, length)


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._make = Make()
        self._actions: list[Action] = []
        self._prefix = Prefix()
        self._appended: list[bytes] = []
        self._model: list[tuple[int, bytes]] = []
        self._holds: list[str] = []
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
        )
        layout = Layout(rng.choice([1, 2, 3]), succinct=rng.random() < 0.7)
        self._team = Team(online=online, online_threshold=rng.randint(1, len(online)), layout=layout, settings=settings)

    def write(self, seed: int, length: int | None) -> Scenario:
        rng = self._rng
        self._begin()
        for _ in range(length or rng.randint(4, 9)):
            rng.choices(
                [self._batch, self._intrude, self._advance, self._ceremony, self._hold, self._restart, self._large],
                [8, 3, 3, 4, 1, 1, 1],
            )[0]()
        if self._holds:
            self._append([self._make.signing_released(hold) for hold in self._holds])
        return Scenario(
            seed,
            tuple(self._actions),
            tuple(self._keys),
            self._repeating,
            SMALL if rng.random() < 0.7 else Sizes(skip_from=rng.choice([1, 3, 16])),
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
                        self._model.append((index, value))
            self._actions.append(Append(tuple(group)))

    def _batch(self) -> None:
        values = [self._value() for _ in range(self._rng.randint(1, 6))]
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
        if rng.random() < 0.35:
            return make.file_uploaded(project, version, length=rng.choice([9, 9, 9, 10]))
        status = rng.choice(["active", "archived", "quarantined", "deprecated"])
        made: list[Callable[[], events.BaseEvent]] = [
            lambda: make.project_created(project),
            lambda: make.project_status_changed(project, status, reason),
            lambda: make.project_removed(project, reason),
            lambda: make.file_removed(project, filename),
            lambda: make.file_restored(project, filename),
            lambda: make.file_yanked(project, filename, reason),
            lambda: make.file_unyanked(project, filename),
            lambda: make.release_removed(project, version),
            lambda: make.release_yanked(project, version, reason),
            lambda: make.release_unyanked(project, version),
            lambda: make.release_quarantined(project, version, reason),
            lambda: make.release_quarantine_cleared(project, version),
            lambda: make.target_added(f"tools/{project}.txt", rng.choice("xy")),
            lambda: make.target_removed(f"tools/{project}.txt"),
            lambda: make.incident_opened(),
            lambda: make.access("granted"),
        ]
        return rng.choice(made)()

    # --- operators -----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._actions.append(Advance(self._rng.choice([30, 310, 600, 1100, BIN_EXPIRY_SECONDS // 2, 5000])))

    def _restart(self) -> None:
        self._actions.append(Restart(self._rng.randint(0, 9)))

    def _hold(self) -> None:
        size = self._rng.choice([None, self._prefix.size, self._prefix.size + 2, max(0, self._prefix.size - 2)])
        hold = self._make.signing_held(size)
        self._append([hold])
        self._holds.append(hold.id)

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
            self._sign(team.but(online=(new,), online_threshold=1))
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
        self._actions.append(Intrude(self._rng.choice(STRANGERS)))


def _but(settings: Settings, **changes: Any) -> Settings:
    return Settings(**{name: getattr(settings, name) for name in settings.__struct_fields__} | changes)


# --- what strangers append -------------------------------------------------------------------------------------------

_STRANGER = factory.ed25519_signer("a stranger")


def _null(_events: Values, _publications: Values) -> bytes | None:
    return None


def _noise(_events: Values, publications: Values) -> bytes | None:
    return b"noise %d" % len(publications)


def _repeat_last(_events: Values, publications: Values) -> bytes | None:
    return publications[-1] if publications else b""


def _repeat_first(_events: Values, publications: Values) -> bytes | None:
    return publications[0] if publications else b"{}"


def _other_form(_events: Values, publications: Values) -> bytes | None:
    return (publications[-1] or b"") + b" " if publications else b" "


def _forged_claim(_events: Values, publications: Values) -> bytes | None:
    """The last claim with a higher number, sealed by a stranger's key."""
    for value in reversed(publications):
        record = decode_publication_record(value)
        if isinstance(record, Record) and isinstance(record.signed, Claim):
            claim = Claim(**{**_fields(record.signed), "number": record.signed.number + 1})
            return encode_record(factory.seal_claim(claim, [_STRANGER]))
    return b"[]"


def _first_claim(events_log: Values, _publications: Values) -> bytes | None:
    """A claim on the genesis, sealed by a stranger's key."""
    prefix, _ = Prefix().extend(events_log)
    if prefix.ledger is None:
        return b""
    claim = Claim(
        format=1,
        origin=prefix.ledger.origin,
        number=1_000_000,
        previous=prefix.ledger.digest,
        time="2099-01-01T00:00:00Z",
        size=prefix.size,
        root_hash=prefix.tree.root_hash(),
        renew=(),
    )
    return encode_record(factory.seal_claim(claim, [_STRANGER]))


def _other_signed(_events: Values, publications: Values) -> bytes | None:
    """The last record with its own signatures over something else."""
    record = decode_publication_record(publications[-1]) if publications else None
    if not isinstance(record, Record):
        return b"{}"
    signed = type(record.signed)(**{**_fields(record.signed), "number": record.signed.number + 5})
    assert encode_signed(signed) != encode_signed(record.signed)
    return encode_record(Record(signatures=record.signatures, signed=signed))


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


STRANGERS: tuple[Stranger, ...] = (
    _null,
    _noise,
    _repeat_last,
    _repeat_first,
    _other_form,
    _forged_claim,
    _first_claim,
    _other_signed,
)


def beyond(events_log: Values, publications: Values) -> bytes | None:
    """A stranger's claim on the last publication that covers more events than there are."""
    value = _first_claim(events_log, publications)
    record = decode_publication_record(value)
    assert isinstance(record, Record)
    claim = Claim(**{**_fields(record.signed), "size": len(events_log) + 1})
    return encode_record(factory.seal_claim(claim, [_STRANGER]))


__all__ = ["Action", "Advance", "Append", "Intrude", "Restart", "Scenario", "Sizes", "beyond", "canonical", "scenario"]
