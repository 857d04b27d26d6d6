"""Every code that section 6 of docs/rules.md lists, produced: check by check, in several ways each.

What is accepted is in test_authority.py.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, SSlibKey

from projections.log.prefix import Prefix
from projections.outcomes import Outcome
from projections.roles.authority import BIN_PATTERNS, Settings, Void, judge_ceremony
from projections.roles.layout import Layout
from schemas import canonical
from schemas.codec import encode_event
from tests import factory
from tests.factory import Files, Make, Team, digest
from tests.unit.codes import Scenario, Scenarios, cases, check, codes_of, replaced, without_root

Edit = Callable[[Files], object]


def put(role: str, *path: str | int, value: Any) -> Edit:
    """Set a member of a role's document."""

    def edit(files: Files) -> None:
        place: Any = files[role]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return edit


def drop(role: str, *path: str | int) -> Edit:
    """Delete a member of a role's document."""

    def edit(files: Files) -> None:
        place: Any = files[role]
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return edit


def first(files: Files) -> Outcome:
    """The outcome of the first ceremony of a ledger that names its root."""
    try:
        root_sha256 = factory.file_digest(files["root"])
    except (KeyError, TypeError):  # there is none, or it has no form
        root_sha256 = digest("root")
    make = Make()
    # Not by our encoder, which writes no integers above 64 bits.
    ceremony = json.dumps(msgspec.to_builtins(make.roles_signed(files))).encode()
    prefix, _ = Prefix().extend(factory.encode([make.ledger_created(root_sha256)]))
    _, extension = prefix.extend([ceremony])
    return extension.judged[-1].outcome


def raw_in_root(number: bytes) -> Outcome:
    """The outcome of a ceremony in whose root a number stands that no encoder of ours writes."""
    make, files = Make(), deepcopy(factory.ceremony(Team()))
    files["root"]["signed"]["x-more"] = "NUMBER"
    value = replaced(b'"NUMBER"', number, encode_event(make.roles_signed(files)))
    return without_root(value)


def in_another_way(key: SSlibKey) -> tuple[str, dict[str, Any]]:
    """A key in PEM with one more line break, which gives it another id."""
    document = deepcopy(key.to_dict())
    document["keyval"]["public"] += "\n"
    return sha256(canonical.encode_for_signing(document)).hexdigest(), document


def _key_in_two_ways() -> Outcome:
    key = factory.ecdsa_signer("another").public_key
    keyid, document = in_another_way(key)
    assert keyid != key.keyid
    return drafted(put("root", "keys", key.keyid, value=key.to_dict()), put("root", "keys", keyid, value=document))


def _online_key_written_in_another_way() -> Outcome:
    """The outcome of a first ceremony in which the online key signs `bins`, under another id."""
    signer = factory.ecdsa_signer("online")
    keyid, document = in_another_way(signer.public_key)
    role = {"name": "bins", "terminating": True, "paths": list(BIN_PATTERNS), "keyids": [keyid], "threshold": 1}
    team = Team(online=(signer,))
    made = deepcopy(factory.drafts(team))
    put("targets", "delegations", value={"keys": {keyid: document}, "roles": [role]})(made)
    files = factory.sign_all(made, team)
    signature = signer.sign(canonical.encode_for_signing(made["bins"])).signature
    files["bins"]["signatures"] = [{"keyid": keyid, "sig": signature}]
    return first(files)


def _new_time_with_a_key_in_another_way() -> Outcome:
    """The outcome of a second ceremony that starts a new time, with the online key of the first under another id."""
    before = Team(online=(factory.ecdsa_signer("online"),))
    keyid, document = in_another_way(before.online[0].public_key)

    def rewrite(files: Files) -> None:
        root, delegations = files["root"], files["bins"]["delegations"]
        for role in (root["roles"]["timestamp"], root["roles"]["snapshot"], delegations["succinct_roles"]):
            role["keyids"] = [keyid]
        del root["keys"][before.online[0].public_key.keyid]
        root["keys"][keyid] = document
        delegations["keys"] = {keyid: document}

    assert later(rewrite, before=before).verdict == "accepted"
    return later(rewrite, before=before, team=TIMED.but(online=before.online))


def _returning() -> Outcome:
    """The outcome of a ceremony that brings back the online key that the ceremony before it replaced."""
    make, old = Make(), Team()
    new = old.but(online=(factory.ed25519_signer("online 2"),))
    prefix = factory.ready_prefix(make, old)
    prefix, _ = factory.extend(prefix, make.roles_signed(factory.ceremony(new, prefix.authority, old, everything=True)))
    files = factory.ceremony(old, prefix.authority, new, everything=True)
    _, extension = factory.extend(prefix, make.roles_signed(files))
    return extension.judged[-1].outcome


def _used() -> Outcome:
    """The outcome of a ceremony whose root stood in a ceremony that was rejected."""
    make, team = Make(), Team()
    prefix = factory.ready_prefix(make, team)
    files = factory.ceremony(team, prefix.authority, team, everything=True)
    prefix, _ = factory.extend(prefix, make.roles_signed({**files, "bins": {}}))
    _, extension = factory.extend(prefix, make.roles_signed(files))
    return extension.judged[-1].outcome


def drafted(*edits: Edit, team: Team | None = None) -> Outcome:
    """The outcome of a first ceremony whose drafts were edited, then signed."""
    team = team or Team()
    made = deepcopy(factory.drafts(team))
    for edit in edits:
        edit(made)
    return first(factory.sign_all(made, team))


def edited(*edits: Edit, team: Team | None = None) -> Outcome:
    """The outcome of a first ceremony whose files were edited after they were signed."""
    files = deepcopy(factory.ceremony(team or Team()))
    for edit in edits:
        edit(files)
    return first(files)


def later(*edits: Edit, team: Team | None = None, before: Team | None = None, only: tuple[str, ...] = ()) -> Outcome:
    """The outcome of a second ceremony of all roles, whose drafts were edited, then signed."""
    before = before or Team()
    team = team or before
    make = Make()
    prefix = factory.ready_prefix(make, before)
    made = deepcopy(factory.drafts(team, prefix.authority, everything=True))
    for edit in edits:
        edit(made)
    files = factory.sign_all(made, team, before)
    files = {role: file for role, file in files.items() if not only or role in only}
    _, extension = factory.extend(prefix, make.roles_signed(files))
    return extension.judged[-1].outcome


def with_key(key: SSlibKey | dict[str, Any], keyid: str = "") -> Outcome:
    """The outcome of a first ceremony whose root lists one more key."""
    document = key.to_dict() if isinstance(key, SSlibKey) else key
    keyid = keyid or (key.keyid if isinstance(key, SSlibKey) else digest("key"))
    return drafted(put("root", "keys", keyid, value=document))


def canonical_key(keytype: str, scheme: str, public: str) -> Outcome:
    """The outcome of a first ceremony whose root lists one more key, under its right id."""
    document = {"keytype": keytype, "scheme": scheme, "keyval": {"public": public}}
    keyid = sha256(canonical.encode_for_signing(document)).hexdigest()
    return with_key(document, keyid)


def pem_of(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def _pem_of_numbers(modulus: int) -> str:
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


ED25519 = factory.ed25519_signer("another").public_key
ONLINE = Team().online[0].public_key.keyid
OFFLINE_KEYS = {role: getattr(Team(), role)[0] for role in ("root", "targets", "bins")}


_ONLINE_1, _ONLINE_2 = (factory.ed25519_signer(f"online {number}") for number in (1, 2))
TIMED = Team(settings=Settings(ruleset=0, time_from="2030-01-02T00:00:00Z"))
EARLIER = Team(settings=Settings(ruleset=0, time_from="2030-01-01T00:00:00Z"))


def settings(**values: Any) -> Edit:
    return put("root", "x-ledger", value={"ruleset": 0, **values})


def threshold(value: Any) -> list[Edit]:
    """A threshold of the online role, everywhere."""
    return [
        put("root", "roles", "timestamp", "threshold", value=value),
        put("root", "roles", "snapshot", "threshold", value=value),
        put("bins", "delegations", "succinct_roles", "threshold", value=value),
    ]


def by_prefixes(*edits: Edit, bits: int = 2) -> Outcome:
    """The outcome of a first ceremony with bins by path hash prefixes, edited."""
    return drafted(*edits, team=Team(layout=Layout(bits, succinct=False)))


def missing(*roles: str) -> Outcome:
    files = factory.ceremony(Team())
    return first({role: files[role] for role in files if role not in roles})


def signed_by(**signers: tuple[CryptoSigner, ...]) -> Outcome:
    """The outcome of a first ceremony in which other signers sign."""
    team = Team()
    made = factory.drafts(team)
    return first({role: factory.sign(body, signers.get(role, getattr(team, role))) for role, body in made.items()})


def forged(role: str) -> Outcome:
    """The outcome of a first ceremony in which a signature of a role covers something else."""
    files = factory.ceremony(Team())
    other = factory.sign({"_type": "other"}, getattr(Team(), role))
    return first({**files, role: {**files[role], "signatures": other["signatures"]}})


def _spoilt_and_unsigned(role: str, *edits: Edit) -> Outcome:
    """The outcome of a first ceremony whose drafts were edited, and in which nobody signs a role."""
    made = deepcopy(factory.drafts(Team()))
    for edit in edits:
        edit(made)
    files = factory.sign_all(made, Team())
    files[role]["signatures"] = []
    return first(files)


def new_root_signed_by(*signers: CryptoSigner) -> Outcome:
    """The outcome of a second ceremony that replaces all root keys, signed by these."""
    make = Make()
    prefix = factory.ready_prefix(make, Team())
    team = Team(root=NEW_ROOT)
    made = factory.drafts(team, prefix.authority)
    files = {"root": factory.sign(made["root"], signers)}
    _, extension = factory.extend(prefix, make.roles_signed(files))
    return extension.judged[-1].outcome


LATER = Team(expires="2041-01-01T00:00:00Z")
NEW_ROOT = tuple(factory.ed25519_signer(f"new root {number}") for number in range(3))


def shared_key(role: str) -> Outcome:
    """The outcome of a first ceremony in which an online key also signs an offline role."""
    team = Team()
    return first(factory.ceremony(team.but(**{role: (*getattr(team, role), team.online[0])})))


_NO_VERSIONS: tuple[Any, ...] = (0, -1, "1", None, True, [])
_TARGET = {"a": {"length": 1, "hashes": {"sha256": digest("a")}}}


def _repeat(*roles: str, reverse: bool = False) -> Outcome:
    make, files = Make(), factory.ceremony(Team())
    prefix = factory.ready_prefix(make, Team())
    chosen = {role: files[role] for role in roles}
    if reverse:
        chosen = {role: dict(reversed(file.items())) for role, file in chosen.items()}
    _, extension = factory.extend(prefix, make.roles_signed(chosen))
    return extension.judged[-1].outcome


def _another_root() -> Outcome:
    make = Make()
    records = factory.encode([make.ledger_created(digest("another")), make.roles_signed(factory.ceremony(Team()))])
    _, extension = Prefix().extend(records)
    return extension.judged[-1].outcome


def _lower_version(role: str) -> Outcome:
    make, team = Make(), Team()
    made = factory.drafts(team)
    made[role]["version"] = 5
    files = factory.sign_all(made, team)
    records = factory.encode([make.ledger_created(factory.file_digest(files["root"])), make.roles_signed(files)])
    prefix, _ = Prefix().extend(records)
    made[role]["version"] = 4
    _, extension = factory.extend(prefix, make.roles_signed({role: factory.sign(made[role], getattr(team, role))}))
    return extension.judged[-1].outcome


def _many_prefixes() -> Outcome:
    """512 bins do not fit into an event, so this one is judged without."""
    files = factory.ceremony(Team(layout=Layout(9, succinct=False)))
    return judge_ceremony(None, factory.file_digest(files["root"]), files, 2).outcome


SECTION_6: Scenarios = {
    "same": {
        "all": partial(_repeat, "root", "targets", "bins"),
        "one": partial(_repeat, "targets"),
        "members in another order": partial(_repeat, "root", reverse=True),
        "none": _repeat,
    },
    "roles-incomplete": {
        "no root": partial(missing, "root"),
        "no targets": partial(missing, "targets"),
        "no bins": partial(missing, "bins"),
        "root alone": partial(missing, "targets", "bins"),
        "nothing": partial(missing, "root", "targets", "bins"),
    },
    "roles-malformed": {
        **{f"no {name}": partial(edited, drop("root", name)) for name in ("signed", "signatures")},
        "one more member": partial(edited, put("bins", "more", value=1)),
        "signatures are an object": partial(edited, put("bins", "signatures", value={})),
        "a signature without a key id": partial(edited, drop("bins", "signatures", 0, "keyid")),
        "a key id that is none": partial(edited, put("bins", "signatures", 0, "keyid", value="x")),
        "two signatures of a key": partial(
            edited, lambda files: files["bins"]["signatures"].append(files["bins"]["signatures"][0])
        ),
        "root is targets": partial(drafted, put("root", "_type", value="targets")),
        "targets is root": partial(drafted, put("targets", "_type", value="root")),
        "bins is bins": partial(drafted, put("bins", "_type", value="bins")),
        "no type": partial(drafted, drop("targets", "_type")),
        **{
            f"spec_version {text!r}": partial(drafted, put("root", "spec_version", value=text))
            for text in ("2.0.0", "1", "1.x", "1.0.0.0", "", "01.0", "1.0\n", " 1.0", "1..0", 1)
        },
        **{
            f"expires {text!r}": partial(drafted, put("targets", "expires", value=text))
            for text in (
                "2040-01-01T00:00:00.5Z",
                "2040-02-30T00:00:00Z",
                "2040-01-01 00:00:00Z",
                "2040-01-01T00:00:00",
                "2040-01-01T00:00:00Z\n",
                "2040-01-01T00:00:00+00:00",
                "",
                5,
                None,
            )
        },
        **{f"version {value!r}": partial(drafted, put("bins", "version", value=value)) for value in _NO_VERSIONS},
        **{
            f"integer {value}": partial(drafted, put("root", "x-more", value=[{"a": value}]))
            for value in (2**53 + 1, -(2**53) - 1, 2**64, 10**100)
        },
        "floating point": partial(edited, put("root", "signed", "x-more", value=1.0)),
        "not even a fraction": partial(edited, put("root", "signed", "x-more", value=1e300)),
        **{
            f"text {text!r}": partial(drafted, put("root", "x-more", value=text))
            for text in ("é", "\t", "\r\n", "\x00", "\x7f", "\u2028", "\ufffd", "e\u0301")
        },
        "member name": partial(drafted, put("root", "x-é", value=1)),
        **{
            f"signature {text!r}": partial(edited, put("targets", "signatures", 0, "sig", value=text))
            for text in ("é", "x", "", "0", "AA", "00\n")
        },
        "beyond floating point": partial(raw_in_root, b"1e400"),
        "of 300 characters": partial(raw_in_root, b"9" * 300),
        **{f"no {name}": partial(drafted, drop("root", name)) for name in ("keys", "consistent_snapshot", "x-ledger")},
        "no role": partial(drafted, drop("root", "roles", "snapshot")),
        "a role more": partial(drafted, put("root", "roles", "mirrors", value={"keyids": [], "threshold": 1})),
    },
    "roles-keys": {
        "another scheme": partial(with_key, {**ED25519.to_dict(), "scheme": "rsassa-pss-sha256"}),
        "an unknown scheme": partial(with_key, {**ED25519.to_dict(), "scheme": "ed25519ph"}),
        "an unknown type": partial(canonical_key, "dsa", "dsa", "aa"),
        "a scheme of another type": partial(canonical_key, "ecdsa", "ed25519", ED25519.keyval["public"]),
        "PKCS1 v1.5": partial(
            canonical_key, "rsa", "rsa-pkcs1v15-sha256", factory.rsa_signer().public_key.keyval["public"]
        ),
        "another id": partial(with_key, ED25519.to_dict(), digest("another")),
        "an upper-case id": partial(with_key, ED25519.to_dict(), ED25519.keyid.upper()),
        "one more member": partial(with_key, {**ED25519.to_dict(), "x-more": 1}),
        "one more member of the value": partial(
            with_key, {**ED25519.to_dict(), "keyval": {**ED25519.to_dict()["keyval"], "private": ""}}
        ),
        "upper-case hexadecimal": partial(canonical_key, "ed25519", "ed25519", ED25519.keyval["public"].upper()),
        "no hexadecimal": partial(canonical_key, "ed25519", "ed25519", "x" * 64),
        "short": partial(canonical_key, "ed25519", "ed25519", "aa" * 31),
        "space": partial(canonical_key, "ed25519", "ed25519", ED25519.keyval["public"] + " "),
        "no PEM": partial(canonical_key, "rsa", "rsassa-pss-sha256", "RSA"),
        "PEM of another type": partial(
            canonical_key, "rsa", "rsassa-pss-sha256", factory.ecdsa_signer("x").public_key.keyval["public"]
        ),
        "PEM of RSA for ECDSA": partial(
            canonical_key, "ecdsa", "ecdsa-sha2-nistp256", factory.rsa_signer().public_key.keyval["public"]
        ),
        "P-384": partial(
            canonical_key, "ecdsa", "ecdsa-sha2-nistp256", pem_of(ec.derive_private_key(12345, ec.SECP384R1()))
        ),
        "RSA of 1,024 bits": partial(canonical_key, "rsa", "rsassa-pss-sha256", _pem_of_numbers(2**1023 + 1155)),
        "a key twice": partial(
            drafted,
            lambda files: files["root"]["roles"]["root"]["keyids"].append(files["root"]["roles"]["root"]["keyids"][0]),
        ),
        "an unknown key": partial(
            drafted, lambda files: files["root"]["roles"]["root"]["keyids"].append(digest("unknown"))
        ),
        "a key written in two ways": _key_in_two_ways,
        "an unknown key of bins": partial(
            drafted, drop("targets", "delegations", "keys", OFFLINE_KEYS["bins"].public_key.keyid)
        ),
        "an unknown key of bin-n": partial(drafted, drop("bins", "delegations", "keys", ONLINE)),
        "threshold 0": partial(drafted, *threshold(0)),
        "threshold -1": partial(drafted, *threshold(-1)),
        "threshold above the keys": partial(drafted, *threshold(2)),
        "threshold of root": partial(drafted, put("root", "roles", "root", "threshold", value=4)),
        "threshold of bins": partial(drafted, put("targets", "delegations", "roles", 0, "threshold", value=0)),
        "no keys": partial(drafted, put("root", "roles", "snapshot", "keyids", value=[])),
    },
    "roles-version": {
        "another root": _another_root,
        "the first root has version 2": partial(drafted, put("root", "version", value=2)),
        "a root is left out": partial(later, put("root", "version", value=3)),
        "root of the same version": partial(later, put("root", "version", value=1), team=LATER),
        "targets of the same version": partial(later, put("targets", "version", value=1), team=LATER),
        "bins of the same version": partial(later, put("bins", "version", value=1), team=LATER),
        "targets of a lower version": partial(_lower_version, "targets"),
        "bins of a lower version": partial(_lower_version, "bins"),
    },
    "roles-settings": {
        **{
            f"{name} {value!r}": partial(drafted, settings(**{name: value}))
            for name, values in {
                "floor": (0, -1, 2**53 + 1, "1", None),
                "bin_expiry_seconds": (9, 0, -1, 366 * 86_400 + 1, "10"),
                "snapshot_expiry_seconds": (9, 366 * 86_400 + 1),
                "timestamp_expiry_seconds": (9, 366 * 86_400 + 1),
                "html_pages": (0, 1, "true", None),
                "project_list_seconds": (-1, 7 * 86_400 + 1),
                "ruleset": (-1, "0", None),
                "time_from": ("", "now", "2030-01-01", "2030-02-30T00:00:00Z", "2030-01-01T00:00:00.5Z", 0, None),
                "more": (1,),
            }.items()
            for value in values
            if not (isinstance(value, int) and abs(value) > 2**53)
        },
        "no ruleset": partial(drafted, put("root", "x-ledger", value={})),
        "not consistent": partial(drafted, put("root", "consistent_snapshot", value=False)),
        "floor goes down": partial(
            later, before=Team(settings=Settings(ruleset=0, floor=9)), team=Team(settings=Settings(ruleset=0, floor=8))
        ),
        "void without a floor": partial(later, team=Team(void=Void(number=1, digest=digest("record")))),
        "void at the floor": partial(
            later, team=Team(void=Void(number=7, digest=digest("record")), settings=Settings(ruleset=0, floor=7))
        ),
        "a new time with the old online key": partial(later, team=TIMED),
        "a new time with one of two online keys": partial(
            later,
            before=Team(online=(_ONLINE_1, _ONLINE_2)),
            team=TIMED.but(online=(_ONLINE_2, factory.ed25519_signer("online 3"))),
        ),
        "a new time with the old online key, written in another way": _new_time_with_a_key_in_another_way,
        "another new time with the old online key": partial(later, before=TIMED, team=EARLIER),
        "void of nothing": partial(drafted, settings(floor=2), put("root", "x-void", value={})),
        "void of a number that is none": partial(
            drafted, settings(floor=2), put("root", "x-void", value={"number": 0, "digest": digest("record")})
        ),
        "void of a digest that is none": partial(
            drafted, settings(floor=2), put("root", "x-void", value={"number": 1, "digest": "x"})
        ),
    },
    "roles-delegation": {
        "targets lists a target": partial(drafted, put("targets", "targets", value=_TARGET)),
        "bins lists a target": partial(drafted, put("bins", "targets", value=_TARGET)),
        "targets without delegations": partial(drafted, drop("targets", "delegations")),
        "bins without delegations": partial(drafted, drop("bins", "delegations")),
        "targets delegates twice": partial(
            drafted,
            lambda files: files["targets"]["delegations"]["roles"].append(files["targets"]["delegations"]["roles"][0]),
        ),
        "targets delegates to nobody": partial(drafted, put("targets", "delegations", "roles", value=[])),
        "targets delegates to another": partial(
            drafted, put("targets", "delegations", "roles", 0, "name", value="bin")
        ),
        "targets delegates by succinct roles": partial(
            drafted, lambda files: files["targets"].update(delegations=files["bins"]["delegations"])
        ),
        "seven patterns": partial(drafted, lambda files: files["targets"]["delegations"]["roles"][0]["paths"].pop()),
        "patterns in another order": partial(
            drafted, lambda files: files["targets"]["delegations"]["roles"][0]["paths"].reverse()
        ),
        "targets delegates by prefixes": partial(
            drafted,
            drop("targets", "delegations", "roles", 0, "paths"),
            put("targets", "delegations", "roles", 0, "path_hash_prefixes", value=["0"]),
        ),
        "both": partial(
            drafted,
            put("bins", "delegations", "roles", value=[]),
        ),
        "neither": partial(drafted, drop("bins", "delegations", "succinct_roles")),
        **{
            f"bit_length {bits!r}": partial(
                drafted, put("bins", "delegations", "succinct_roles", "bit_length", value=bits)
            )
            for bits in (0, 17, -1, 32, "4", True)
        },
        **{
            f"name_prefix {prefix!r}": partial(
                drafted, put("bins", "delegations", "succinct_roles", "name_prefix", value=prefix)
            )
            for prefix in ("", "Bin", "b-in", "a/b", "../b", "b" * 17, "bin\n", '"')
        },
        "three bins": partial(by_prefixes, lambda files: files["bins"]["delegations"]["roles"].pop()),
        "one bin": partial(
            by_prefixes,
            lambda files: files["bins"]["delegations"].update(roles=files["bins"]["delegations"]["roles"][:1]),
        ),
        "bins in another order": partial(by_prefixes, lambda files: files["bins"]["delegations"]["roles"].reverse()),
        **{
            f"prefix {prefix!r} of names": partial(drafted, team=Team(layout=Layout(2, prefix, succinct=False)))
            for prefix in ("", "Bin", "0b", "a/b", "../b", "b" * 17)
        },
        "bins of other names": partial(by_prefixes, put("bins", "delegations", "roles", 1, "name", value="bin-2")),
        "longer prefixes": partial(
            by_prefixes, put("bins", "delegations", "roles", 0, "path_hash_prefixes", value=["00"])
        ),
        "a prefix is missing": partial(
            by_prefixes, lambda files: files["bins"]["delegations"]["roles"][0]["path_hash_prefixes"].pop()
        ),
        "upper-case prefixes": partial(
            by_prefixes, put("bins", "delegations", "roles", 3, "path_hash_prefixes", value=["C", "D", "E", "F"])
        ),
        "paths beside prefixes": partial(by_prefixes, put("bins", "delegations", "roles", 0, "paths", value=["*"])),
        "other thresholds": partial(by_prefixes, put("bins", "delegations", "roles", 1, "threshold", value=2)),
        "512 bins": _many_prefixes,
    },
    "roles-online": {
        **{f"also a key of {role}": partial(shared_key, role) for role in ("root", "targets", "bins")},
        "also a key of bins, written in another way": _online_key_written_in_another_way,
        "another key of snapshot": partial(
            drafted,
            put("root", "keys", ED25519.keyid, value=ED25519.to_dict()),
            put("root", "roles", "snapshot", "keyids", value=[ED25519.keyid]),
        ),
        "another key of bins": partial(
            drafted,
            put("bins", "delegations", "keys", ED25519.keyid, value=ED25519.to_dict()),
            put("bins", "delegations", "succinct_roles", "keyids", value=[ED25519.keyid]),
        ),
        "another threshold of timestamp": partial(
            drafted,
            put("root", "roles", "timestamp", "threshold", value=1),
            team=Team(
                online=(factory.ed25519_signer("online 1"), factory.ed25519_signer("online 2")), online_threshold=2
            ),
        ),
        "new online keys without new bins": partial(
            later, team=Team(online=(factory.ed25519_signer("online 2"),)), only=("root",)
        ),
        "a key that left": _returning,
    },
    "roles-used": {"after another document was malformed": _used},
    "roles-signatures": {
        **{f"{role} by others": partial(signed_by, **{role: NEW_ROOT}) for role in ("root", "targets", "bins")},
        **{f"{role} by nobody": partial(signed_by, **{role: ()}) for role in ("root", "targets", "bins")},
        **{
            f"{role} by too few": partial(signed_by, **{role: getattr(Team(), role)[:1]})
            for role in ("root", "targets", "bins")
        },
        **{f"{role} forged": partial(forged, role) for role in ("root", "targets", "bins")},
        **{
            f"{role} by a stranger too": partial(signed_by, **{role: (*getattr(Team(), role), NEW_ROOT[0])})
            for role in ("root", "targets", "bins")
        },
        **{
            f"one signature of {role} is wrong": partial(
                edited, put(role, "signatures", 0, "sig", value="00" * 64), team=Team().but(**{f"{role}_threshold": 1})
            )
            for role in ("root", "targets", "bins")
        },
        "root by the new keys alone": partial(new_root_signed_by, *NEW_ROOT),
        "root by the old keys alone": partial(new_root_signed_by, *Team().root),
        "root by too few old keys": partial(new_root_signed_by, *NEW_ROOT, Team().root[0]),
        "root by too few new keys": partial(new_root_signed_by, *Team().root, NEW_ROOT[0]),
        "targets stay signed by the old keys": partial(later, team=Team(targets=NEW_ROOT), only=("root",)),
        "bins stay signed by the old keys": partial(later, team=Team(bins=NEW_ROOT), only=("root", "targets")),
    },
}


def test_every_code_of_the_page_is_produced_and_no_other() -> None:
    assert set(SECTION_6) == codes_of(6)


@pytest.mark.parametrize(("code", "scenario"), cases(SECTION_6))
def test_code(code: str, scenario: Scenario) -> None:
    check(code, scenario)


SEVERAL_FAULTS: Mapping[str, tuple[Scenario, str]] = {
    "malformed, then version": (
        partial(drafted, drop("root", "keys"), put("root", "version", value=2)),
        "roles-malformed",
    ),
    "malformed, then incomplete": (
        lambda: first({"root": {**factory.ceremony(Team())["root"], "signatures": 5}}),
        "roles-malformed",
    ),
    "incomplete, then version": (partial(missing, "root"), "roles-incomplete"),
    "version, then keys": (
        partial(drafted, put("bins", "version", value=2**53), put("root", "version", value=2), *threshold(0)),
        "roles-version",
    ),
    "root's keys, then its settings": (partial(drafted, *threshold(0), settings(floor=0)), "roles-keys"),
    "root's signatures, then its settings": (
        partial(_spoilt_and_unsigned, "root", settings(floor=0)),
        "roles-signatures",
    ),
    "root's settings, then targets": (
        partial(drafted, settings(floor=0), put("targets", "targets", value=_TARGET)),
        "roles-settings",
    ),
    "delegation of targets, then its keys": (
        partial(
            drafted,
            put("targets", "delegations", "roles", 0, "name", value="x"),
            put("targets", "delegations", "roles", 0, "threshold", value=0),
        ),
        "roles-delegation",
    ),
    "keys of targets, then delegation of bins": (
        partial(
            drafted,
            put("targets", "delegations", "roles", 0, "threshold", value=0),
            put("bins", "targets", value=_TARGET),
        ),
        "roles-keys",
    ),
    "keys of bins, then those that differ": (
        partial(drafted, put("bins", "delegations", "succinct_roles", "threshold", value=0)),
        "roles-keys",
    ),
    "keys that differ, then signatures of targets": (
        partial(
            _spoilt_and_unsigned,
            "targets",
            put("root", "keys", ED25519.keyid, value=ED25519.to_dict()),
            put("root", "roles", "snapshot", "keyids", value=[ED25519.keyid]),
        ),
        "roles-online",
    ),
}


@pytest.mark.parametrize("name", SEVERAL_FAULTS)
def test_the_first_check_of_a_ceremony_that_fails_gives_the_code(name: str) -> None:
    scenario, code = SEVERAL_FAULTS[name]
    assert scenario().code == code


def test_what_the_scenarios_spoil_is_accepted() -> None:
    assert drafted().verdict == edited().verdict == later().verdict == by_prefixes().verdict == "accepted"
    assert with_key(ED25519).verdict == "accepted"
    assert canonical_key("ed25519", "ed25519", ED25519.keyval["public"]).verdict == "accepted"
    assert new_root_signed_by(*NEW_ROOT, *Team().root).verdict == "accepted"
