"""Events, keys, ceremonies, claims and publications for tests.

Everything is a function of its arguments: ids and times come from the `Counter` that is passed, keys from their names.
Nothing here judges; a test that wants something wrong takes what is right and changes it.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.signer import CryptoSigner

from projections.log.prefix import Extension, Prefix
from projections.log.proofs import freeable_leaf, prove, tree_root
from projections.metadata.repository import pack_digest, pack_signatures, signed_file, timestamp_payload
from projections.publications import Head, OpenClaim
from projections.roles.authority import Authority, Settings, Void
from projections.roles.drafts import Plan, Signers, draft
from projections.roles.layout import Layout
from schemas import canonical, events
from schemas.codec import encode_event, encode_record, encode_signed
from schemas.publications import Claim, Publication, Record, Seal

ORIGIN = "ledger.example.org/index"
EPOCH_AT = datetime(2030, 1, 1, tzinfo=UTC)
EXPIRES = "2040-01-01T00:00:00Z"
Files = dict[str, dict[str, Any]]
"""Metadata files by role, as JSON objects: what `roles.signed` carries."""

Event = TypeVar("Event", bound=events.BaseEvent)


def digest(text: str) -> str:
    """A SHA-256, or whatever else is 64 hexadecimal digits, that belongs to a text."""
    return sha256(text.encode()).hexdigest()


@dataclass
class Counter:
    """Gives each event its id and time: one a second."""

    count: int = 0

    def next(self) -> tuple[str, str]:
        """The next id and time."""
        self.count += 1
        return f"event-{self.count:06}", instant(self.count)


def instant(seconds: int) -> str:
    """An instant so many seconds after a fixed one."""
    return (EPOCH_AT + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- events ------------------------------------------------------------------------------------------------------


@dataclass
class Make:
    """Makes events. Each method takes what the event is about; everything else has a default that keywords replace
    (`id`, `time` and the other attributes by `also`).
    """

    counter: Counter = field(default_factory=Counter)
    also: Mapping[str, Any] = field(default_factory=dict)

    def having(self, **also: Any) -> "Make":
        """The same, with attributes for the events to come; the counter is shared."""
        return Make(self.counter, {**self.also, **also})

    def event(self, kind: type[Event], subject: str, data: events.Data) -> Event:
        """An event of any type."""
        event_id, time = self.counter.next()
        attributes = {
            "specversion": "1.0",
            "id": event_id,
            "source": "https://index.example.org",
            "subject": subject,
            "time": time,
            "actorkind": "user",
            "actorid": "account-1",
            "data": data,
        }
        return kind(**{**attributes, **self.also})

    def ledger_created(self, root_sha256: str, **data: Any) -> events.LedgerCreated:
        values = {"origin": ORIGIN, "epoch": "epoch-1", "root_sha256": root_sha256, **data}
        return self.event(events.LedgerCreated, "ledger", events.LedgerCreatedData(**values))

    def roles_signed(self, roles: Files, **data: Any) -> events.RolesSigned:
        values: dict[str, Any] = {"roles": roles, **data}
        return self.event(events.RolesSigned, "roles", events.RolesSignedData(**values))

    def project_created(self, project: str) -> events.ProjectCreated:
        return self.event(events.ProjectCreated, project, events.ProjectData())

    def project_status_changed(
        self, project: str, status: events.ProjectStatus, reason: str | None = None
    ) -> events.ProjectStatusChanged:
        data = events.ProjectStatusData(status=status, reason=reason)
        return self.event(events.ProjectStatusChanged, project, data)

    def project_removed(
        self, project: str, reason: str | None = None, *, withhold: bool = False
    ) -> events.ProjectRemoved:
        return self.event(events.ProjectRemoved, project, events.ProjectRemovedData(reason=reason, withhold=withhold))

    def file_uploaded(self, project: str, version: str = "1.0", **data: Any) -> events.FileUploaded:
        """An upload; the digests belong to the filename unless they are given."""
        filename = data.get("filename", f"{project}-{version}.tar.gz")
        values = {
            "filename": filename,
            "version": version,
            "length": 1000 + len(filename),
            "hashes": events.Hashes(sha256=digest(filename), blake2b_256=digest(f"blake2b {filename}")),
            **data,
        }
        return self.event(events.FileUploaded, project, events.FileUploadedData(**values))

    def file_removed(
        self, project: str, filename: str, reason: str | None = None, *, withhold: bool = False
    ) -> events.FileRemoved:
        data = events.FileRemovedData(filename=filename, reason=reason, withhold=withhold)
        return self.event(events.FileRemoved, project, data)

    def file_restored(self, project: str, filename: str, sha256: str | None = None) -> events.FileRestored:
        data = events.FileRestoredData(filename=filename, sha256=sha256 or digest(filename))
        return self.event(events.FileRestored, project, data)

    def file_freed(
        self, project: str, filename: str, sha256: str | None = None, proof: events.Proof | None = None
    ) -> events.FileFreed:
        """Without a proof that root can allow, unless it is given."""
        data = events.FileFreedData(
            filename=filename, sha256=sha256 or digest(filename), proof=proof or events.Proof(leaf=0, size=1)
        )
        return self.event(events.FileFreed, project, data)

    def file_yanked(self, project: str, filename: str, reason: str | None = None) -> events.FileYanked:
        return self.event(events.FileYanked, project, _file(filename, reason))

    def file_unyanked(self, project: str, filename: str, reason: str | None = None) -> events.FileUnyanked:
        return self.event(events.FileUnyanked, project, _file(filename, reason))

    def release_removed(
        self, project: str, version: str = "1.0", reason: str | None = None, *, withhold: bool = False
    ) -> events.ReleaseRemoved:
        data = events.ReleaseRemovedData(version=version, reason=reason, withhold=withhold)
        return self.event(events.ReleaseRemoved, project, data)

    def release_yanked(self, project: str, version: str = "1.0", reason: str | None = None) -> events.ReleaseYanked:
        return self.event(events.ReleaseYanked, project, _release(version, reason))

    def release_unyanked(self, project: str, version: str = "1.0", reason: str | None = None) -> events.ReleaseUnyanked:
        return self.event(events.ReleaseUnyanked, project, _release(version, reason))

    def release_quarantined(
        self, project: str, version: str = "1.0", reason: str | None = None
    ) -> events.ReleaseQuarantined:
        return self.event(events.ReleaseQuarantined, project, _release(version, reason))

    def release_quarantine_cleared(
        self, project: str, version: str = "1.0", reason: str | None = None
    ) -> events.ReleaseQuarantineCleared:
        return self.event(events.ReleaseQuarantineCleared, project, _release(version, reason))

    def target_added(self, path: str, content: str = "content", length: int = 100) -> events.TargetAdded:
        data = events.TargetAddedData(length=length, sha256=digest(content))
        return self.event(events.TargetAdded, path, data)

    def target_removed(self, path: str, reason: str | None = None, *, withhold: bool = False) -> events.TargetRemoved:
        return self.event(events.TargetRemoved, path, events.RemovalData(reason=reason, withhold=withhold))

    def access(
        self, what: Literal["granted", "revoked", "noted"], subject: str = "account-2", **data: Any
    ) -> events.BaseEvent:
        kinds = {"granted": events.AccessGranted, "revoked": events.AccessRevoked, "noted": events.AccessNoted}
        values = {"kind": "collaborator", "account": "account-2", "role": "owner", **data}
        return self.event(kinds[what], subject, events.AccessData(**values))

    def incident_opened(self, incident: str = "incident-1", title: str = "Stolen token") -> events.IncidentOpened:
        return self.event(events.IncidentOpened, incident, events.IncidentOpenedData(title=title))

    def incident_noted(self, incident: str = "incident-1", note: str = "A note", **data: Any) -> events.IncidentNoted:
        return self.event(events.IncidentNoted, incident, events.IncidentNotedData(note=note, **data))

    def incident_selected(self, incident: str = "incident-1", **data: Any) -> events.IncidentSelected:
        values = {"version": 1, "part": 0, "parts": 1, "runs": ((2, 3),), **data}
        return self.event(events.IncidentSelected, incident, events.IncidentSelectedData(**values))

    def incident_closed(
        self, incident: str = "incident-1", reason: str | None = None, **data: Any
    ) -> events.IncidentClosed:
        return self.event(events.IncidentClosed, incident, events.IncidentClosedData(reason=reason, **data))

    def opening_erased(self, event_id: str = "event-000001", fields: Sequence[str] = ("ip",)) -> events.OpeningErased:
        return self.event(events.OpeningErased, event_id, events.OpeningErasedData(fields=tuple(fields)))

    def signing_held(
        self, size: int | None = None, reason: str | None = None, lock: str | None = None
    ) -> events.SigningHeld:
        return self.event(events.SigningHeld, "signing", events.SigningHeldData(size=size, reason=reason, lock=lock))

    def signing_released(
        self, hold: str, reason: str | None = None, secret: str | None = None
    ) -> events.SigningReleased:
        data = events.SigningReleasedData(hold=hold, reason=reason, secret=secret)
        return self.event(events.SigningReleased, "signing", data)

    def one_of_each(self, root_sha256: str, roles: Files) -> list[events.BaseEvent]:
        """One event of every type, in an order in which all are accepted after the first two, if root allows that
        `FREED_FILE` is freed.
        """
        return [
            self.ledger_created(root_sha256),
            self.roles_signed(roles),
            self.project_created("demo"),
            self.project_status_changed("demo", "deprecated", "Use other"),
            self.file_uploaded("demo"),
            self.file_yanked("demo", "demo-1.0.tar.gz", "Broken"),
            self.file_unyanked("demo", "demo-1.0.tar.gz"),
            self.file_removed("demo", "demo-1.0.tar.gz"),
            self.file_restored("demo", "demo-1.0.tar.gz"),
            self.release_yanked("demo", reason="Broken"),
            self.release_unyanked("demo"),
            self.release_quarantined("demo"),
            self.release_quarantine_cleared("demo"),
            self.release_removed("demo"),
            self.file_freed("demo", "demo-1.0.tar.gz"),
            self.project_removed("demo"),
            self.target_added("tools/demo.txt"),
            self.target_removed("tools/demo.txt"),
            self.access("granted"),
            self.access("revoked"),
            self.access("noted"),
            self.incident_opened(),
            self.incident_noted(),
            self.incident_selected(),
            self.incident_closed(),
            self.opening_erased(),
            (hold := self.signing_held()),
            self.signing_released(hold.id),
        ]


FileOfProject = tuple[str, str, str]
"""A file's SHA-256, project and name."""


FREED_FILE = (digest("demo-1.0.tar.gz"), "demo", "demo-1.0.tar.gz")
"""The file that is freed by `Make.one_of_each`."""


def freeable_root(listed: Sequence[FileOfProject]) -> str:
    """The Merkle root of a list of files that may be freed."""
    return tree_root([freeable_leaf(*each) for each in listed])


def proof_of(listed: Sequence[FileOfProject], file: FileOfProject) -> events.Proof:
    """The proof that a file is in such a list."""
    found = prove([freeable_leaf(*each) for each in listed], listed.index(file))
    return events.Proof(leaf=found.leaf, size=found.size, path=found.path)


def proofs_of(listed: Sequence[FileOfProject]) -> dict[FileOfProject, Any]:
    """The proofs of all files of such a list, as JSON objects."""
    return {each: msgspec.json.decode(msgspec.json.encode(proof_of(listed, each))) for each in listed}


def change(event: Event, **changes: Any) -> Event:
    """The event with other attributes; those of `data` by names that begin with `data_`."""
    data = {name.removeprefix("data_"): value for name, value in changes.items() if name.startswith("data_")}
    rest = {name: value for name, value in changes.items() if not name.startswith("data_")}
    return msgspec.structs.replace(event, **rest, data=msgspec.structs.replace(event.data, **data))  # type: ignore[attr-defined]  # all have


def _file(filename: str, reason: str | None) -> events.FileData:
    return events.FileData(filename=filename, reason=reason)


def _release(version: str, reason: str | None) -> events.ReleaseData:
    return events.ReleaseData(version=version, reason=reason)


# --- keys --------------------------------------------------------------------------------------------------------


MADE: dict[str, CryptoSigner] = {}
"""The Ed25519 keys that were made, by key id."""


@cache
def ed25519_signer(name: str) -> CryptoSigner:
    """The Ed25519 key of a name."""
    signer = CryptoSigner(ed25519.Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest()))
    MADE[signer.public_key.keyid] = signer
    return signer


@cache
def ecdsa_signer(name: str) -> CryptoSigner:
    """The ECDSA P-256 key of a name. Its signatures do not repeat."""
    return CryptoSigner(ec.derive_private_key(int(digest(name), 16) >> 1, ec.SECP256R1()))


@cache
def rsa_signer() -> CryptoSigner:
    """An RSA key of 2,048 bits for RSA-PSS. Its signatures do not repeat."""
    p, q, e = _RSA_PRIME_1, _RSA_PRIME_2, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, p * q)
    )
    return CryptoSigner(numbers.private_key())


_RSA_PRIME_1 = int(
    "d43ff432b0f90345f80fbf8aac71f96d9b141d8d86117c6c792ac55a59186cb98aaa489788e98307ad0c966d5ff4c6526b79afa0720825bf"
    "7a940b478fd40071692d072cff51b4e19929882f36fd2fe7d4143383382a54c7f5123ff1690cd81cf5201d611c90e39e1d27976dc1129c3c"
    "d42eef5d4444154c0057c798b997d3c3",
    16,
)
_RSA_PRIME_2 = int(
    "b6c299ed1a9b6af15bbb8a57d25d7574ba2258beb53c207517ef7362d40ec1ab536a7c13b5aa6e9c55a61fb689f2439054ca719e4f4b261e"
    "b5cfcddc8623e8fc8baaa0a8c84aad6ed4c9eae3e52ed778432ed645eb2171e2fe6ddf317a2aa3860bf8ef2cf8f3232624c6f69d042a3bf7"
    "c85e87c8240d984afed6e92b8b450fb5",
    16,
)


# --- ceremonies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Team:
    """Who signs what: the signers of each role with its threshold, and everything else that a ceremony decides."""

    root: tuple[CryptoSigner, ...] = (ed25519_signer("root 1"), ed25519_signer("root 2"), ed25519_signer("root 3"))
    targets: tuple[CryptoSigner, ...] = (ed25519_signer("targets 1"), ed25519_signer("targets 2"))
    bins: tuple[CryptoSigner, ...] = (ed25519_signer("bins 1"), ed25519_signer("bins 2"))
    online: tuple[CryptoSigner, ...] = (ed25519_signer("online 1"),)
    root_threshold: int = 2
    targets_threshold: int = 2
    bins_threshold: int = 2
    online_threshold: int = 1
    layout: Layout = field(default_factory=lambda: Layout(4))
    settings: Settings = field(default_factory=lambda: Settings(ruleset=0))
    expires: str = EXPIRES
    void: Void | None = None

    def but(self, **changes: Any) -> "Team":
        """The same, with changes."""
        return replace(self, **changes)

    @property
    def plan(self) -> Plan:
        """What shall be in force."""
        return Plan(
            root=_signers(self.root, self.root_threshold),
            targets=_signers(self.targets, self.targets_threshold),
            bins=_signers(self.bins, self.bins_threshold),
            online=_signers(self.online, self.online_threshold),
            layout=self.layout,
            settings=self.settings,
            expires=self.expires,
            void=self.void,
        )


def _signers(signers: Sequence[CryptoSigner], threshold: int) -> Signers:
    return Signers(tuple(signer.public_key for signer in signers), threshold)


def drafts(team: Team, current: Authority | None = None, *, everything: bool = False) -> Files:
    """The `signed` parts of a ceremony. With `everything`, also of roles whose content stays as it is."""
    return draft(team.plan, current, renew=everything)


def sign(signed: Mapping[str, Any], signers: Iterable[CryptoSigner]) -> dict[str, Any]:
    """A metadata file of these signatures, in the order of key ids."""
    payload = canonical.encode_for_signing(dict(signed))
    signatures = [signer.sign(payload).to_dict() for signer in signers]
    return {"signatures": sorted(signatures, key=lambda each: each["keyid"]), "signed": dict(signed)}


def sign_all(made: Files, team: Team, before: Team | None = None) -> Files:
    """The files of a ceremony; root is signed by the team before too."""
    signers = {"root": _both(team.root, before.root if before else ()), "targets": team.targets, "bins": team.bins}
    return {role: sign(body, signers[role]) for role, body in made.items()}


def _both(first: Sequence[CryptoSigner], second: Sequence[CryptoSigner]) -> list[CryptoSigner]:
    return list({signer.public_key.keyid: signer for signer in (*first, *second)}.values())


def ceremony(
    team: Team, current: Authority | None = None, before: Team | None = None, *, everything: bool = False
) -> Files:
    """A whole ceremony: drafts, signed."""
    return sign_all(drafts(team, current, everything=everything), team, before)


def file_digest(file: Mapping[str, Any]) -> str:
    """The SHA-256 of a metadata file as served."""
    return sha256(canonical.encode(file)).hexdigest()


# --- a ledger ----------------------------------------------------------------------------------------------------


def encode(made: Iterable[events.BaseEvent]) -> list[bytes]:
    """Events as they are appended."""
    return [encode_event(event) for event in made]


def beginning(make: Make, team: Team) -> list[bytes]:
    """The first two records of a ledger: its creation and its first ceremony."""
    files = ceremony(team)
    return encode([make.ledger_created(file_digest(files["root"])), make.roles_signed(files)])


def extend(prefix: Prefix, *made: events.BaseEvent) -> tuple[Prefix, Extension]:
    """A prefix with these events appended."""
    return prefix.extend(encode(made))


def ready_prefix(make: Make, team: Team) -> Prefix:
    """The prefix of a ledger with its creation and its first ceremony."""
    prefix, extension = Prefix().extend(beginning(make, team))
    verdicts = [judged.outcome for judged in extension.judged]
    if [outcome.verdict for outcome in verdicts] != ["accepted", "accepted"]:
        raise ValueError(f"the factory's first records are not accepted: {verdicts}")
    return prefix


def authority_of(prefix: Prefix) -> Authority:
    """The authority that a prefix must have."""
    if prefix.authority is None:
        raise ValueError("no root is in force")
    return prefix.authority


# --- claims and publications -------------------------------------------------------------------------------------


def seals(payload: bytes, signers: Iterable[CryptoSigner]) -> tuple[Seal, ...]:
    """The seal of a record."""
    signatures = sorted((signer.sign(payload) for signer in signers), key=lambda each: each.keyid)
    return tuple(Seal(keyid=each.keyid, sig=each.signature) for each in signatures)


def claim(prefix: Prefix, head: Head, number: int, **changes: Any) -> Claim:
    """The claim that publishes a prefix after a head."""
    values = {
        "format": 1,
        "origin": ORIGIN,
        "number": number,
        "previous": head.digest,
        "time": changes.get("time") or instant(number * 1000),
        "size": prefix.size,
        "root_hash": prefix.tree.root_hash(),
        "renew": (),
        **changes,
    }
    return Claim(**values)


def seal_claim(claimed: Claim, signers: Iterable[CryptoSigner]) -> Record:
    """A claim's record."""
    return Record(signatures=seals(encode_signed(claimed), signers), signed=claimed)


def opened(record: Record, root_version: int = 1) -> OpenClaim:
    """The open claim of a claim's record, made under a version of root."""
    if not isinstance(record.signed, Claim):
        raise TypeError("not a claim")
    keyids = frozenset(seal.keyid for seal in record.signatures)
    return OpenClaim(record.signed, sha256(encode_record(record)).hexdigest(), root_version, keyids)


def publication(
    open_claim: OpenClaim, authority: Authority, payloads: Mapping[str, bytes], snapshot: bytes, team: Team
) -> Publication:
    """What is signed under a claim: bins by role name, and the snapshot."""
    roles = []
    for name, payload in sorted(payloads.items()):
        signatures = sign_payload(payload, team)
        file = signed_file(payload, signatures)
        roles.append((name, pack_digest(file), pack_signatures(authority.online, signatures)))
    signatures = sign_payload(snapshot, team)
    file = signed_file(snapshot, signatures)
    return Publication(
        format=1,
        number=open_claim.claim.number,
        claim=open_claim.digest,
        roles=tuple(roles),
        snapshot=(b64encode(sha256(file).digest()).decode(), len(file), pack_signatures(authority.online, signatures)),
    )


def sign_payload(payload: bytes, team: Team) -> dict[str, str]:
    """The online signatures of a payload, by key id."""
    signatures = (signer.sign(payload) for signer in team.online)
    return {each.keyid: each.signature for each in signatures}


def seal_publication(published: Publication, open_claim: OpenClaim, authority: Authority, team: Team) -> Record:
    """A publication's record: sealed by the signatures of its timestamp."""
    payload = timestamp_payload(open_claim.claim, published, authority)
    return Record(signatures=seals(payload, team.online), signed=published)


def head_of(record: Record, open_claim: OpenClaim, time_from: str = "") -> Head:
    """The head after a publication, under a root with this `time_from`."""
    claimed = open_claim.claim
    digest = sha256(encode_record(record)).hexdigest()
    return Head(claimed.number, digest, claimed.time, claimed.size, time_from)
