"""Online metadata: python-tuf reads what is rendered, gets the same bytes back, and follows from version to version."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import BadVersionNumberError, EqualVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import CanonicalJSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from projections.metadata.paths import TIMESTAMP, metadata_path
from projections.metadata.repository import (
    LENGTH_ABOVE_BYTES,
    RoleEntry,
    SnapshotTable,
    bin_payload,
    expires_at,
    pack_digest,
    pack_signatures,
    signed_file,
    signs_all_bins,
    timestamp_payload,
    unpack_signatures,
)
from projections.metadata.targets import target_entry
from projections.publications import Head, OpenClaim
from projections.roles.authority import Authority, Settings
from projections.roles.layout import Layout
from tests import factory
from tests.factory import Make, Team, authority_of, digest
from tests.property.ledger import begin
from tests.property.model import target_of

pytestmark = pytest.mark.usefixtures("quiet")

ONLINE = tuple(factory.ed25519_signer(f"online {number}") for number in range(1, 5))


def check_payload(payload: bytes, kind: type[Signed]) -> Any:
    """python-tuf and securesystemslib agree with every byte; returns the signed part as python-tuf has it."""
    assert encode_canonical(json.loads(payload)) == payload.decode()
    metadata: Metadata[Any] = Metadata.from_bytes(signed_file(payload, {}))
    assert isinstance(metadata.signed, kind)
    assert metadata.signed_bytes == payload
    assert CanonicalJSONSerializer().serialize(metadata.signed) == payload
    assert metadata.signed.to_dict() == json.loads(payload)
    return metadata.signed


segments = st.from_regex(
    r"[A-Za-z0-9!$&'()*+,;:<=>@^_`{|}~\[\]-][A-Za-z0-9!$&'()*+,.;:<=>@^_`{|}~\[\]-]{0,12}", fullmatch=True
)
paths = st.lists(segments, min_size=1, max_size=8).map("/".join)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
instants = st.datetimes(datetime(2000, 1, 1), datetime(2999, 12, 31)).map(  # noqa: DTZ001  # Z is written
    lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")
)
versions = st.integers(1, 2**53)


@given(st.dictionaries(paths, st.tuples(st.integers(0, 2**53), digests), max_size=20), versions, instants)
def test_a_bin_is_canonical(targets: dict[str, tuple[int, str]], version: int, expires: str) -> None:
    """Canonical bytes equal securesystemslib's, and python-tuf reads the targets that went in."""
    rendered = [target_entry(path, *target) for path, target in sorted(targets.items())]
    signed = check_payload(bin_payload(rendered, version, expires), Targets)
    assert {path: (file.length, file.hashes["sha256"]) for path, file in signed.targets.items()} == targets
    assert signed.version == version
    assert signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ") == expires


TEAMS = [Team(), Team(layout=Layout(3, "b", succinct=False)), Team(layout=Layout(16))]
AUTHORITIES = [authority_of(factory.ready_prefix(Make(), team)) for team in TEAMS]


@given(
    st.sampled_from(AUTHORITIES),
    st.lists(
        st.dictionaries(
            st.sampled_from(["bin-0", "bin-1", "bin-00", "bin-0000", "b-7", "bin-f", "bin-10"]),
            st.builds(RoleEntry, versions, instants, st.integers(0, 3 * LENGTH_ABOVE_BYTES), digests),
        ),
        max_size=4,
    ),
    versions,
    st.integers(0, 2_000_000_000),
)
def test_a_snapshot_is_canonical(
    authority: Authority, updates: list[dict[str, RoleEntry]], number: int, seconds: int
) -> None:
    prefix = factory.ready_prefix(Make(), Team())
    claim = factory.claim(prefix, Head(0, digest("x"), "", 0), number, time=factory.instant(seconds))
    table = SnapshotTable({})
    expected: dict[str, RoleEntry] = {}
    for update in updates:
        table.update(update)
        expected |= update
    payload = table.payload(claim, authority, 1)
    assert payload == SnapshotTable(expected).payload(claim, authority, 1)
    signed = check_payload(payload, Snapshot)
    assert set(signed.meta) == {f"{name}.json" for name in expected} | {"targets.json", "bins.json"}
    for name, entry in expected.items():
        meta = signed.meta[f"{name}.json"]
        assert meta.version == entry.version
        assert meta.length == (entry.length if entry.length > LENGTH_ABOVE_BYTES else None)
        assert meta.hashes is None
    assert signed.version == number
    assert signed.unrecognized_fields == {
        "x-ledger": {
            "content_size": 1,
            "origin": factory.ORIGIN,
            "root_hash": prefix.tree.root_hash(),
            "size": 2,
        }
    }


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**53),
    versions,
    st.lists(st.sampled_from(["bin-0", "bin-5"]), unique=True),
)
def test_a_timestamp_is_canonical(sha256: bytes, length: int, number: int, names: list[str]) -> None:
    authority = AUTHORITIES[0]
    prefix = factory.ready_prefix(Make(), Team())
    claim = factory.claim(prefix, Head(0, digest("x"), "", 0), number, time=factory.instant(5))
    opened = OpenClaim(claim, digest("claim"))
    published = factory.publication(opened, authority, dict.fromkeys(names, b"{}"), sha256, Team())
    signed = check_payload(timestamp_payload(claim, published, authority), Timestamp)
    meta = signed.snapshot_meta
    assert (meta.version, meta.length) == (number, published.snapshot[1])
    meta.verify_length_and_hashes(signed_file(sha256, factory.sign_payload(sha256, Team())))
    assert length >= 0


@given(instants, st.integers(10, 366 * 86_400))
def test_expires_is_claim_time_plus_the_period(time: str, seconds: int) -> None:
    expires = expires_at(time, seconds)
    parse = "%Y-%m-%dT%H:%M:%SZ"
    difference = datetime.strptime(expires, parse) - datetime.strptime(time, parse)  # noqa: DTZ007  # Z is in the format
    assert difference.total_seconds() == seconds
    assert expires > time


@given(st.lists(st.booleans(), min_size=3, max_size=3), st.binary(max_size=20))
def test_signatures_are_unpacked_as_they_were_packed(who: list[bool], payload: bytes) -> None:
    team = Team(online=tuple(signer for signer, signs in zip(ONLINE[:3], who, strict=True) if signs))
    keys = authority_of(factory.ready_prefix(Make(), Team(online=ONLINE[:3]))).online
    signatures = factory.sign_payload(payload, team)
    packed = pack_signatures(keys, signatures)
    assert unpack_signatures(keys, packed) == signatures
    file = signed_file(payload, signatures)
    assert pack_digest(file) == pack_digest(signed_file(payload, dict(sorted(signatures.items(), reverse=True))))


def test_every_bin_is_signed_again_when_keys_or_names_change() -> None:
    def authority(**team: Any) -> Authority:
        return authority_of(factory.ready_prefix(Make(), Team(**team)))

    before = authority()
    assert signs_all_bins(None, before)
    assert not signs_all_bins(before, before)
    assert not signs_all_bins(before, authority(root=ONLINE[1:], settings=Settings(ruleset=0, html_pages=True)))
    assert not signs_all_bins(before, authority(layout=Layout(4, succinct=False)))
    assert signs_all_bins(before, authority(online=ONLINE[1:2]))
    assert signs_all_bins(before, authority(online=ONLINE[:2]))
    assert signs_all_bins(authority(online=ONLINE[:2]), authority(online=ONLINE[:2], online_threshold=2))
    assert signs_all_bins(before, authority(layout=Layout(5)))
    assert signs_all_bins(before, authority(layout=Layout(4, "b")))


# --- a client ----------------------------------------------------------------------------------------------------


class Served:
    """A ledger, and a client that follows what it serves."""

    def __init__(self, *, above: int = 0) -> None:
        self.make, self.team = Make(), Team()
        self.ledger = begin(factory.beginning(self.make, self.team), above=above)
        self.cache: dict[str, bytes] = {}
        self.found: dict[str, tuple[int, str]] = {}

    def publish(self, values: list[bytes], team: Team | None = None) -> None:
        """Publish events under a ceremony that was signed by a team before, if there is one."""
        self.team = team or self.team
        self.ledger.publish(values)

    def file(self, role: str) -> bytes:
        """The file of a role that is served."""
        ledger = self.ledger
        if role == "timestamp":
            return ledger.served(TIMESTAMP)
        offline = {document.role: document.version for document in ledger.authority.documents}
        versions = {name: entry.version for name, entry in ledger.follower.table.entries.items()}
        return ledger.served(metadata_path(role, {"snapshot": ledger.number, **offline, **versions}[role]))

    def ceremony(self, team: Team, *, before: Team | None = None) -> bytes:
        files = factory.ceremony(team, self.ledger.authority, before or self.team, everything=True)
        return factory.encode([self.make.roles_signed(files)])[0]

    @property
    def roots(self) -> int:
        """The version of the last root."""
        return self.ledger.authority.root.version

    def refresh(self) -> TrustedMetadataSet:
        """The client workflow (TUF 1.0.34, section 5), from the first root on, with what is in the cache."""
        first, *roots = (self.ledger.served(metadata_path("root", version)) for version in range(1, self.roots + 1))
        trusted = TrustedMetadataSet(first, EnvelopeType.METADATA)
        trusted.reference_time = datetime(2030, 1, 1, tzinfo=UTC)
        for root in roots:
            trusted.update_root(root)
        if "timestamp" in self.cache:
            with suppress(RepositoryError):  # signed by keys that are gone
                trusted.update_timestamp(self.cache["timestamp"])
        with suppress(EqualVersionNumberError):  # the client has it
            trusted.update_timestamp(self.file("timestamp"))
        if "snapshot" in self.cache:
            with suppress(RepositoryError):  # signed by keys that are gone, or to be replaced
                trusted.update_snapshot(self.cache["snapshot"], trusted=True)
        trusted.update_snapshot(self.file("snapshot"))
        trusted.update_targets(self.file("targets"))
        trusted.update_delegated_targets(self.file("bins"), "bins", "targets")
        self.cache = {role: self.file(role) for role in ("timestamp", "snapshot")}
        return trusted

    def check(self) -> None:
        """A client finds every page and file, each as it is, and nothing else."""
        trusted = self.refresh()
        layout = self.ledger.authority.layout
        found: dict[str, tuple[int, str]] = {}
        for index in range(layout.count):
            name = layout.name(index)
            targets = trusted.update_delegated_targets(self.file(name), name, "bins")
            for path, target in targets.targets.items():
                assert trusted.targets.delegations is not None
                found[path] = target.length, target.hashes["sha256"]
        for path, page in self.ledger.pages.items():
            assert found.pop(path) == target_of(page)
        assert all(path.startswith("packages/") or path == "t" for path in found)
        self.found = found


def begun() -> Served:
    served = Served()
    served.check()
    return served


def test_a_client_follows_uploads_and_removals() -> None:
    served, make = begun(), Make()
    served.publish(factory.encode([make.file_uploaded("a"), make.file_uploaded("b"), make.target_added("t")]))
    served.check()
    assert len(served.found) == 3
    served.publish(factory.encode([make.file_yanked("a", "a-1.0.tar.gz"), make.project_removed("b")]))
    served.check()
    assert len(served.found) == 2
    served.publish([])
    served.check()


def test_a_client_follows_a_planned_rotation() -> None:
    served, make = begun(), Make()
    served.publish(factory.encode([make.file_uploaded("a")]))
    both = Team(online=ONLINE[:2])
    served.publish([served.ceremony(both)], both)
    served.check()
    new = Team(online=ONLINE[1:2])
    served.publish([served.ceremony(new)], new)
    served.check()
    assert served.roots == 3


def test_a_client_follows_an_emergency_rotation() -> None:
    served, make = begun(), Make()
    new = Team(
        online=ONLINE[1:2],
        root=tuple(factory.ed25519_signer(f"new {number}") for number in range(3)),
        targets=ONLINE[2:4],
        bins=ONLINE[2:4],
    )
    served.publish([served.ceremony(new), *factory.encode([make.file_uploaded("a")])], new)
    served.check()
    assert len(served.found) == 1


@pytest.mark.parametrize("bits", [[5, 3, 4], [1, 8, 1]])
@pytest.mark.parametrize("succinct", [True, False])
def test_a_client_follows_another_number_of_bins(bits: list[int], succinct: bool) -> None:
    """Names of retired bins stay listed at their last version for ever; names that return go up."""
    served, make = begun(), Make()
    served.publish(factory.encode(make.file_uploaded("a", f"{number}") for number in range(30)))
    for number in bits:
        team = served.team.but(layout=Layout(number, succinct=succinct))
        served.publish([served.ceremony(team)], team)
        served.check()
        assert len(served.found) == 30
    snapshot: Metadata[Snapshot] = Metadata.from_bytes(served.file("snapshot"))
    assert len(snapshot.signed.meta) > 2 + (1 << bits[-1])


def test_a_fast_forward_by_a_stolen_key_is_repaired_by_a_rotation() -> None:
    """TUF 1.0.34, 5.3.11: rotating timestamp and snapshot keys makes clients discard fast-forwarded versions."""
    served, thief = begun(), Served(above=1_000_000 - 1)
    served.cache = {role: thief.file(role) for role in ("timestamp", "snapshot")}
    with pytest.raises(BadVersionNumberError):
        served.refresh()
    new = Team(online=ONLINE[1:2])
    served.publish([served.ceremony(new)], new)
    served.check()


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["upload", "yank", "remove", "html", "bins", "keys", "nothing"]), max_size=6))
def test_a_client_follows_anything(steps: list[str]) -> None:
    served, make = begun(), Make()
    for number, step in enumerate(steps):
        team, values = served.team, []
        if step == "upload":
            values = factory.encode(make.file_uploaded("a", f"{number}.{each}") for each in range(5))
        elif step == "yank":
            values = factory.encode([make.release_yanked("a", f"{number - 1}.0")])
        elif step == "remove":
            values = factory.encode([make.project_removed("a")])
        elif step == "html":
            html = not team.settings.html_pages
            team = team.but(settings=Settings(ruleset=0, html_pages=html))
        elif step == "bins":
            team = team.but(layout=Layout(number % 5 + 1, succinct=number % 2 == 0))
        elif step == "keys":
            team = team.but(online=(factory.ed25519_signer(f"online of {number}"),))
        ceremony = [] if team is served.team else [served.ceremony(team)]
        served.publish(ceremony + values, team)
        served.check()
