"""The authority: the offline roles in force, with their keys, settings and layout of bins.

`judge_ceremony` judges the documents of one ceremony by docs/rules.md, section 6. The documents are accepted together
or not at all. They are accepted only if the set that would then be in force verifies from root to bins (TUF 1.0.34,
sections 5.3 and 5.6).
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import sha256
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from securesystemslib.signer import SSlibKey

from projections.outcomes import ACCEPTED, Outcome, no_effect, rejected
from projections.roles.documents import Document, DocumentError, read_document
from projections.roles.keys import KeysError, RoleDocument, RoleKeys, material_of, read_keys, read_role, verify
from projections.roles.layout import Layout
from schemas.errors import LedgerError
from schemas.fields import Instant, Number, Sha256, Size, is_instant

KNOWN_RULESETS = frozenset({0})

BIN_PATTERNS = tuple("/".join(["*"] * depth) for depth in range(1, 9))
"""Patterns by which `targets` delegates every target path to `bins`: `*` matches no slash, so each depth has one."""

MAX_BITS_SUCCINCT = 16
MAX_BITS_PREFIXES = 8
MOST_FREEABLE = 16
"""Most lists of files that may be freed."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

BinPrefix = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]{0,15}(?!\n)$")]
ExpirySeconds = Annotated[int, msgspec.Meta(ge=10, le=366 * 86_400)]
ListSeconds = Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400)]


class UpgradeNeededError(LedgerError):
    """A root names a ruleset that this program does not know. A newer version of the program is needed to go on.

    `size` is the size of the log before that root's event: so much is understood.
    """

    def __init__(self, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root's `x-ledger`: everything that shapes metadata, apart from events and keys.

    `floor` is the lowest number that a publication may have. `project_list_seconds` is the shortest time between two
    renderings of the list of all projects. While `importing` is true, uploads may have the names and versions that an
    older index had (`legacy`). `freeable` are the Merkle roots of lists of files that may be freed. `time_from` starts
    a new time if it differs from the one in force before; unset, it leaves that one as it is. Holds whose event has an
    index below `holds_end` have ended.
    """

    ruleset: int
    floor: Number = 1
    bin_expiry_seconds: ExpirySeconds = 7 * 86_400
    snapshot_expiry_seconds: ExpirySeconds = 86_400
    timestamp_expiry_seconds: ExpirySeconds = 86_400
    html_pages: bool = False
    project_list_seconds: ListSeconds = 3_600
    importing: bool = False
    freeable: Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=MOST_FREEABLE)] = ()
    time_from: Instant | msgspec.UnsetType = msgspec.UNSET
    holds_end: Size = 0


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """The settings by which the events from an index on are judged. Other settings shape bytes, and judge nothing."""

    start: int
    importing: bool = False
    freeable: tuple[str, ...] = ()


def terms_at(terms: Sequence[Terms], index: int) -> Terms:
    """The terms by which the event at an index is judged, given all terms in order."""
    return terms[bisect_right(terms, index, key=attrgetter("start")) - 1]


class Void(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Root's `x-void`: a publication that does not count, nor does anything after it up to a claim under this root."""

    number: Number
    digest: Sha256


class RootInForce(msgspec.Struct, frozen=True):
    """What claims need to know of a root: the size from which it is in force, its version, its online keys, its floor,
    and the `time_from` that is in force with it.
    """

    size: int
    version: int
    online: RoleKeys
    floor: int
    time_from: str


class RootKeys(NamedTuple):
    """The keys of the roles that a root names."""

    root: RoleKeys
    targets: RoleKeys
    snapshot: RoleKeys
    timestamp: RoleKeys


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """The offline roles in force at one size of the log, and the keys, settings, layout and voids that follow.

    `time_from` is the instant from which claims count; an empty text if no root ever had one. Where it changes, a new
    time starts. `terms` are those of all roots so far: an event is judged by the root in force at its own index.
    `roots` are all roots up to there, in order; `online_ever` are all keys that they list as online, by key id. `used`
    are digests of the signed parts of roots whose ceremonies were rejected (docs/rules.md, `roles-used`).
    """

    root: Document
    targets: Document
    bins: Document
    settings: Settings
    root_keys: RoleKeys
    online: RoleKeys
    layout: Layout
    time_from: str
    online_ever: Mapping[str, SSlibKey]
    roots: tuple[RootInForce, ...]
    voids: tuple[tuple[int, Void], ...]
    terms: tuple[Terms, ...]
    used: frozenset[str] = frozenset()

    @property
    def documents(self) -> tuple[Document, Document, Document]:
        """The documents in force, in the order of trust."""
        return self.root, self.targets, self.bins

    @property
    def online_since(self) -> int:
        """The version of the root since which the online keys and their threshold are the same."""
        same = self.roots[-1]
        for each in reversed(self.roots):
            if each.online != same.online:
                break
            same = each
        return same.version

    def root_at(self, size: int) -> RootInForce | None:
        """The root in force at a size up to this one, or None."""
        place = bisect_right(self.roots, size, key=lambda each: each.size)
        return self.roots[place - 1] if place else None

    def void_for(self, number: int, digest: str) -> int | None:
        """The size from which a root that voids this publication is in force, or None."""
        return next((size for size, void in self.voids if (void.number, void.digest) == (number, digest)), None)


class Ceremony(msgspec.Struct, frozen=True):
    """A judged ceremony: its outcome, the authority afterwards, and the new documents."""

    outcome: Outcome
    authority: Authority | None
    documents: tuple[Document, ...] = ()


class _RootRoles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    root: RoleDocument
    targets: RoleDocument
    snapshot: RoleDocument
    timestamp: RoleDocument


class _Root(msgspec.Struct, frozen=True, kw_only=True, rename={"ledger": "x-ledger", "void": "x-void"}):
    consistent_snapshot: bool
    keys: dict[str, Any]
    roles: _RootRoles
    ledger: dict[str, Any]
    void: dict[str, Any] | None = None


class _Succinct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyids: tuple[Sha256, ...]
    threshold: int
    bit_length: Annotated[int, msgspec.Meta(ge=1, le=MAX_BITS_SUCCINCT)]
    name_prefix: BinPrefix


class _Delegated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    keyids: tuple[Sha256, ...]
    threshold: int
    terminating: bool
    paths: tuple[str, ...] | None = None
    path_hash_prefixes: tuple[str, ...] | None = None


class _Delegations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    keys: dict[str, Any]
    roles: tuple[_Delegated, ...] | None = None
    succinct_roles: _Succinct | None = None


class _Targets(msgspec.Struct, frozen=True):
    targets: dict[str, Any]
    delegations: _Delegations


def judge_ceremony(
    current: Authority | None, root_sha256: str, documents: Mapping[Any, dict[str, Any]], size: int
) -> Ceremony:
    """Judge the documents of one ceremony.

    Args:
        current: the authority in force before; None before the first root.
        root_sha256: the digest of root version 1, from record 0.
        documents: metadata files by role.
        size: the size of the log with this event.

    Raises:
        UpgradeNeededError: a root with the right signatures names a ruleset that this program does not know.
    """
    try:
        given = {role: read_document(role, value) for role, value in documents.items()}
        if "root" in given:
            _read_root(given["root"])
        if current is None and len(given) != 3:
            raise DocumentError("roles-incomplete", "the first ceremony needs root, targets and bins")
        old = {} if current is None else {document.role: document for document in current.documents}
        new = {role: each for role, each in given.items() if role not in old or old[role].file != each.file}
        if not new:
            return Ceremony(no_effect("same"), current)
        _check_versions(old, new, root_sha256)
        if current is not None and "root" in new and _digest_of(new["root"]) in current.used:
            raise DocumentError("roles-used", "a ceremony with this root was rejected before: sign another root")
        authority = _read({**old, **new}, current, size)
    except DocumentError as error:
        return Ceremony(rejected(error.code, str(error)), _with_used(current, documents.get("root")))
    return Ceremony(ACCEPTED, authority, tuple(new[role] for role in ("root", "targets", "bins") if role in new))


def _with_used(current: Authority | None, root: dict[str, Any] | None) -> Authority | None:
    """The authority after a rejected ceremony. It remembers a root that only owners of offline keys could make.

    Whoever reads the log knows the bytes of such a root. They could claim under it, beyond the end of the log, and
    append it later themselves: followers that read the claim before that and after that would disagree for ever.
    """
    if current is None or root is None:
        return current
    try:
        document = read_document("root", root)
    except DocumentError:
        return current
    if document.version != current.root.version + 1 or not current.root_keys.accept(
        document.signatures, document.payload
    ):
        return current
    return msgspec.structs.replace(current, used=current.used | {_digest_of(document)})


def _digest_of(root: Document) -> str:
    return sha256(root.payload).hexdigest()


def _check_versions(old: Mapping[str, Document], new: Mapping[str, Document], root_sha256: str) -> None:
    for role, document in new.items():
        before = old[role].version if role in old else 0
        if role == "root" and document.version != before + 1:
            raise DocumentError("roles-version", f"root version {document.version}; the next is {before + 1}")
        if document.version <= before:
            raise DocumentError("roles-version", f"{role} version {document.version} is not above {before}")
    if not old and sha256(new["root"].file).hexdigest() != root_sha256:
        raise DocumentError("roles-version", "root version 1 is not the one that record 0 names")


def _read(documents: Mapping[str, Document], current: Authority | None, size: int) -> Authority:
    """Read a set of documents and verify it.

    Raises:
        DocumentError: a document breaks a rule.
        UpgradeNeededError: root's ruleset is unknown.
    """
    root, targets, bins = (documents[role] for role in ("root", "targets", "bins"))
    top = _read_root(root)
    root_keys, targets_keys, snapshot_keys, timestamp_keys = read_root_keys(root)
    # TUF 1.0.34, 5.3.4: root N+1 is signed by a threshold of the keys of root N and of its own. This is checked before
    # the settings are read: only the owners of these keys can stop followers by naming another ruleset.
    check_signatures(root, root_keys, *([current.root_keys] if current else []))
    settings, void = _read_settings(root, top, current, size)
    time_from = _read_time_from(settings, current, timestamp_keys)
    bins_keys, _ = read_delegation(targets, to_bins=True)
    bin_keys, layout = read_delegation(bins, to_bins=False)
    if not snapshot_keys == timestamp_keys == bin_keys:
        raise DocumentError("roles-online", "timestamp, snapshot and bins have different keys or thresholds")
    # Keys are not compared by key id: `targets` could write an online key in another way than root does.
    offline = {material_of(key) for role in (root_keys, targets_keys, bins_keys) for key in role.keys}
    if shared := [key.keyid for key in bin_keys.keys if material_of(key) in offline]:
        raise DocumentError("roles-online", f"key {shared[0][:16]}… is both an online and an offline key")
    _check_returning(bin_keys, current)
    check_signatures(targets, targets_keys)
    check_signatures(bins, bins_keys)
    return Authority(
        root=root,
        targets=targets,
        bins=bins,
        settings=settings,
        root_keys=root_keys,
        online=timestamp_keys,
        layout=layout,
        time_from=time_from,
        online_ever={**(current.online_ever if current else {}), **{key.keyid: key for key in timestamp_keys.keys}},
        roots=_roots(current, root, RootInForce(size, root.version, timestamp_keys, settings.floor, time_from)),
        voids=(current.voids if current else ()) + (((size, void),) if void else ()),
        terms=_follow_terms(current.terms if current else (), settings, size),
        used=current.used if current else frozenset(),
    )


def _follow_terms(before: tuple[Terms, ...], settings: Settings, size: int) -> tuple[Terms, ...]:
    terms = Terms(size, settings.importing, settings.freeable)
    same = bool(before) and msgspec.structs.replace(before[-1], start=size) == terms
    return before if same else (*before, terms)


def _roots(current: Authority | None, root: Document, new: RootInForce) -> tuple[RootInForce, ...]:
    before = current.roots if current else ()
    return before if current is not None and current.root.version == root.version else (*before, new)


def _check_returning(online: RoleKeys, current: Authority | None) -> None:
    """Check that no key that left the online role returns. A thief who still has it claims in advance.

    Raises:
        DocumentError: one does.
    """
    if current is None:
        return
    left = {material_of(key) for key in current.online_ever.values()}
    left -= {material_of(key) for key in current.online.keys}
    if returning := [key.keyid for key in online.keys if material_of(key) in left]:
        raise DocumentError(
            "roles-online", f"key {returning[0][:16]}… was online and left: no key returns, so make a new one"
        )


def _read_root(root: Document) -> _Root:
    return _convert(root, root.signed, _Root, "roles-malformed")


def _read_settings(root: Document, top: _Root, current: Authority | None, size: int) -> tuple[Settings, Void | None]:
    ruleset = top.ledger.get("ruleset")
    if type(ruleset) is int and ruleset > max(KNOWN_RULESETS):
        raise UpgradeNeededError(
            f"root version {root.version} names ruleset {ruleset}; this program knows up to {max(KNOWN_RULESETS)}. "
            "Install a newer version of tuf-ledger",
            size - 1,
        )
    if not top.consistent_snapshot:
        raise DocumentError("roles-settings", "`consistent_snapshot` must be true")
    settings = _convert(root, top.ledger, Settings, "roles-settings")
    if settings.ruleset not in KNOWN_RULESETS:
        raise DocumentError("roles-settings", f"there is no ruleset {settings.ruleset}")
    if current is not None and (settings.ruleset < current.settings.ruleset or settings.floor < current.settings.floor):
        raise DocumentError("roles-settings", "`ruleset` and `floor` never go down")
    if settings.time_from is not msgspec.UNSET and not is_instant(settings.time_from):
        raise DocumentError("roles-settings", f"`time_from` {settings.time_from} is no date of the calendar")
    # Whoever signs a root cannot know the holds that come after it, and must not end those.
    if not (current.settings.holds_end if current else 0) <= settings.holds_end < size:
        raise DocumentError("roles-settings", "`holds_end` never goes down, and is at most the index of its event")
    if top.void is None:
        return settings, None
    void = _convert(root, top.void, Void, "roles-settings")
    # A voided number was signed once. The floor ensures that it is never signed again.
    if settings.floor <= void.number:
        raise DocumentError("roles-settings", f"`x-void` of {void.number} needs a `floor` above it")
    # A later root that repeats the setting does not void again from its own size on.
    known = current is not None and any(void == each for _, each in current.voids)
    return settings, None if known else void


def _read_time_from(settings: Settings, current: Authority | None, online: RoleKeys) -> str:
    """The `time_from` in force from this root on.

    A root that starts a new time lists no online key of the root before. So all bins are signed anew, and nothing that
    was signed with an expiry in the far future stays valid.
    """
    before = "" if current is None else current.time_from
    time_from = before if settings.time_from is msgspec.UNSET else settings.time_from
    if current is not None and time_from != before:
        old = {material_of(key) for key in current.online.keys}
        if kept := [key.keyid for key in online.keys if material_of(key) in old]:
            raise DocumentError("roles-settings", f"`time_from` changes, so online key {kept[0][:16]}… must go")
    return time_from


def read_root_keys(root: Document) -> RootKeys:
    """Read the keys of the roles that a root names.

    Raises:
        DocumentError: the root is malformed, or its keys break a rule.
    """
    top = _read_root(root)
    keys = _read_keys(root, top.keys)
    roles = top.roles
    return RootKeys(
        *(_read_role(root, role, keys) for role in (roles.root, roles.targets, roles.snapshot, roles.timestamp))
    )


def read_delegation(document: Document, *, to_bins: bool) -> tuple[RoleKeys, Layout]:
    """Read the keys and the layout of a delegation: that of `targets` to `bins`, or that of `bins` to the bins.

    Raises:
        DocumentError: the document is malformed, or its delegation breaks a rule.
    """
    body = _convert(document, document.signed, _Targets, "roles-delegation")
    keys = _read_keys(document, body.delegations.keys)
    if body.targets:
        raise DocumentError("roles-delegation", f"{document.role} must list no targets of its own")
    roles, succinct = body.delegations.roles, body.delegations.succinct_roles
    if to_bins:
        if succinct is not None or roles is None or len(roles) != 1 or roles[0].name != "bins":
            raise DocumentError("roles-delegation", "targets must delegate to `bins` alone")
        if roles[0].paths != BIN_PATTERNS or roles[0].path_hash_prefixes is not None:
            raise DocumentError("roles-delegation", "targets must delegate by the eight patterns `*` … `*/…/*`")
        return _read_role(document, RoleDocument(roles[0].keyids, roles[0].threshold), keys), Layout(1)
    if (roles is None) == (succinct is None):
        raise DocumentError("roles-delegation", "bins must delegate either by succinct roles or by prefixes")
    if succinct is not None:
        role = RoleDocument(succinct.keyids, succinct.threshold)
        return _read_role(document, role, keys), Layout(succinct.bit_length, succinct.name_prefix)
    first = (roles or ())[0:1]
    layout = _read_prefixes(roles or ())
    return _read_role(document, RoleDocument(first[0].keyids, first[0].threshold), keys), layout


def read_bins_layout(value: dict[str, Any]) -> Layout:
    """Read the layout of bins from the metadata file of `bins`.

    Raises:
        DocumentError: the file is malformed, or its delegation breaks a rule.
    """
    return read_delegation(read_document("bins", value), to_bins=False)[1]


def hash_prefixes(layout: Layout, index: int) -> tuple[str, ...]:
    """The hexadecimal path hash prefixes of a bin: as short as possible, in order (TUF 1.0.34, section 4.5)."""
    digits = -(-layout.bits // 4)
    width = 1 << (4 * digits - layout.bits)
    return tuple(f"{number:0{digits}x}" for number in range(index * width, (index + 1) * width))


def _read_prefixes(roles: tuple[_Delegated, ...]) -> Layout:
    bits = len(roles).bit_length() - 1
    if not 1 <= bits <= MAX_BITS_PREFIXES or len(roles) != 1 << bits:
        raise DocumentError("roles-delegation", "bins must delegate to 2, 4, 8 … or 256 bins by prefixes")
    try:
        prefix = msgspec.convert(roles[0].name.rpartition("-")[0], BinPrefix)
    except msgspec.ValidationError as error:
        raise DocumentError("roles-delegation", f"bin {roles[0].name!r} has no proper name") from error
    layout = Layout(bits, prefix, succinct=False)
    for index, role in enumerate(roles):
        if (
            role.name != layout.name(index)
            or role.path_hash_prefixes != hash_prefixes(layout, index)
            or role.paths is not None
            or (role.keyids, role.threshold) != (roles[0].keyids, roles[0].threshold)
        ):
            raise DocumentError("roles-delegation", f"bin {role.name!r} is not delegated to as `{layout.name(index)}`")
    return layout


def _convert(document: Document, value: Any, kind: type[_Struct], code: str) -> _Struct:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DocumentError(code, f"{document.role}: {error}") from error


def _read_keys(document: Document, value: Any) -> dict[str, SSlibKey]:
    try:
        return read_keys(value)
    except KeysError as error:
        raise DocumentError("roles-keys", f"{document.role}: {error}") from error


def _read_role(document: Document, role: RoleDocument, keys: Mapping[str, SSlibKey]) -> RoleKeys:
    try:
        return read_role(role, keys)
    except KeysError as error:
        raise DocumentError("roles-keys", f"{document.role}: {error}") from error


def check_signatures(document: Document, *roles: RoleKeys) -> None:
    """Check that a threshold of each role signed, and nobody else: a document is served as its signers made it.

    Raises:
        DocumentError: it is signed otherwise.
    """
    keys = {key.keyid: key for role in roles for key in role.keys}
    payload = document.payload
    for keyid, signature in document.signatures.items():
        if keyid not in keys or not verify(keys[keyid], signature, payload):
            raise DocumentError(
                "roles-signatures",
                f"{document.role} version {document.version}: the signature of key {keyid[:16]}… is not by one of its "
                "keys, or not valid",
            )
    for role in roles:
        if len(document.signatures.keys() & set(role.keyids)) < role.threshold:
            raise DocumentError(
                "roles-signatures",
                f"{document.role} version {document.version}: fewer than {role.threshold} signatures of its keys",
            )
