"""What the golden log rejects, and what has no effect: at least one record for every code that is easily produced."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from projections.log.prefix import Prefix
from projections.roles.authority import Authority
from schemas.codec import encode_event, encode_record
from schemas.events import BaseEvent, Hashes, RolesSigned
from schemas.publications import Record
from tests import factory
from tests.client.attacker import Ledger, load_head
from tests.factory import Files, Make, Team, authority_of, change
from tests.golden.records import Value

STRANGER = factory.ed25519_signer("stranger")


# --- events ------------------------------------------------------------------------------------------------------


def no_events(make: Make) -> Iterator[Value]:
    """Records that are no events, and events that look odd and count."""
    good = encode_event(make.project_created("garbage"))
    yield from (None, b"", b"\x00\xff garbage", b"[]", b"{}", b"null", b'"text"', b"1e999", b"x" * 70_000, b"[" * 200)
    yield good[:-1]
    yield good.replace(b'"data":{}', b'"data":{},"data":{}').replace(b'"subject"', b'"id":"again","subject"')
    yield good.replace(b"project.created.v1", b"project.created.v9")
    yield good.replace(b"garbage", b"Not_Normalised")
    yield good.replace(b"garbage", b"..")
    yield good.replace(b"2030-", b'2031-02-30T00:00:00Z","x":"')
    yield good.replace(b'"time":"2030-01-01', b'"time":"2031-02-30')
    yield good.replace(b'"actorkind":"user"', b'"actorkind":"\\u001b[2J"')
    yield encode_event(make.ledger_created(factory.digest("another root")))
    yield b"\n " + good.replace(b"garbage", b"spaced").replace(b"event-", b"spaced-") + b" \n"
    yank = encode_event(make.release_yanked("many", "1.1", "REASON"))
    for number, text in enumerate(
        (b"\\ud800 alone", b"\xed\xa0\x80 encoded", b"\\u0000\\u009f control", b"\\\\ud800 not")
    ):
        yield yank.replace(b"REASON", text).replace(b"event-", b"text-%d-" % number)


def bad_events(make: Make) -> Iterator[list[Value]]:
    """Events that break a rule of their subject's, or repeat what is so already; in groups that are published apart."""
    uploaded, other = make.file_uploaded("rules"), make.file_uploaded("rules", length=7)
    yield _encode(
        make.file_yanked("unknown", "unknown-1.0.tar.gz"),  # no-project
        uploaded,
        make.file_uploaded("rules"),  # already-uploaded
        other,  # filename-taken
        make.file_uploaded("rules", "2.0", filename="other-2.0.tar.gz"),  # foreign-filename
        make.file_uploaded("rules", "2.0", filename="rules-2.0.exe"),
        make.file_uploaded("rules", "2.0", filename="rules-3.0.tar.gz"),  # bad-version
        make.file_uploaded("rules", "two", filename="rules-two.tar.gz"),
        make.project_created("rules"),  # exists
        make.project_status_changed("rules", "active"),  # same
        make.file_yanked("rules", "rules-9.tar.gz"),  # no-file
        make.file_unyanked("rules", "rules-1.0.tar.gz"),  # not-yanked
        make.file_restored("rules", "rules-1.0.tar.gz"),  # not-removed
        make.file_restored("rules", "rules-1.0.tar.gz", factory.digest("other")),  # other-bytes
        make.release_yanked("rules", "9"),  # no-release
        make.release_unyanked("rules"),
        make.release_quarantine_cleared("rules"),  # not-quarantined
    )
    removed = make.file_removed("rules", "rules-1.0.tar.gz")
    yield _encode(
        removed,
        removed,  # repeated
        change(removed, data_reason="another"),  # id-conflict
        make.file_removed("rules", "rules-1.0.tar.gz"),  # already-removed
        make.release_removed("rules"),
        make.file_yanked("rules", "rules-1.0.tar.gz"),  # file-removed
        make.file_uploaded("rules"),
        make.release_quarantined("rules"),
        make.release_quarantined("rules"),  # same
        make.file_uploaded("rules", "1.0.0", filename="rules-1.0-py3-none-any.whl"),  # release-quarantined
    )
    yield _encode(
        make.project_status_changed("rules", "archived"),
        make.file_uploaded("rules", "3.0"),  # project-archived
        make.project_status_changed("rules", "quarantined"),
        make.file_uploaded("rules", "3.0"),  # project-quarantined
        make.project_removed("rules"),
        make.project_removed("rules"),  # already-removed
        make.file_uploaded("rules", "3.0"),  # project-removed
        make.project_created("rules"),
    )
    # Two projects hold one path: a legacy name does not say where the project's ends.
    name, old = "a-b-1.0.exe", "one of old"
    hashes = Hashes(sha256="0" * 64, blake2b_256=factory.digest(f"blake2b {name}"))
    yield _encode(
        make.file_uploaded("a", old, filename=name, legacy=True),
        make.file_uploaded("a-b", old, filename=name, legacy=True, hashes=hashes, length=7),
        make.file_uploaded("a", "1.0", filename="b-1.0.exe", legacy=True),  # foreign-filename
    )
    yield _encode(make.file_removed("a-b", name))
    yield _encode(make.file_restored("a-b", name, "0" * 64), make.file_removed("a", name))
    yield _encode(
        make.target_added("tools/list.txt"),
        make.target_added("tools/list.txt"),  # same
        make.target_added("tools/list.txt", "other content", 7),
        make.target_removed("tools/none.txt"),  # no-target
        make.target_added("tools/gone [1].txt"),
        make.target_removed("tools/gone [1].txt"),
        make.target_removed("tools/gone [1].txt"),  # already-removed
        make.target_added("simple/x/index.json"),  # reserved-path
        make.incident_noted("unknown"),  # no-incident
        make.incident_opened("twice"),
        make.incident_opened("twice"),  # already-open
    )


def _encode(*made: BaseEvent) -> list[Value]:
    return [encode_event(event) for event in made]


# --- offline roles -----------------------------------------------------------------------------------------------


def bad_roles(make: Make, authority: Authority, team: Team) -> Iterator[Value]:
    """Ceremonies that are not accepted."""
    for day, spoil in enumerate(
        (
            _spoil("root", "spec_version", "2.0"),  # roles-malformed
            _spoil("root", "x-note", 15),  # a float, see below
            _spoil("root", "x-note", "über"),
            _spoil("root", "version", 7),  # roles-version
            _spoil("root", "consistent_snapshot", value=False),  # roles-settings
            _spoil("root", "x-void", {"number": 10**6, "digest": "0" * 64}),
            _spoil("targets", "delegations", {"keys": {}, "roles": []}),  # roles-delegation
            _spoil("bins", "targets", {"a": {"hashes": {"sha256": "0" * 64}, "length": 1}}),
            _spoil_keys,  # roles-keys
            _share_key,  # roles-online
        ),
        1,
    ):
        made = factory.drafts(team, authority, everything=True)
        made["root"]["expires"] = f"2040-02-{day:02}T00:00:00Z"  # a rejected root is used up
        spoil(made, team)
        yield encode_event(make.roles_signed(factory.sign_all(made, team))).replace(b'"x-note":15', b'"x-note":1.5')
    made = factory.drafts(team, authority, everything=True)
    strangers = team.but(root=(STRANGER,), targets=(STRANGER,), bins=(STRANGER,))
    yield encode_event(make.roles_signed(factory.sign_all(made, strangers)))  # roles-signatures
    again: Files = {document.role: json.loads(document.file) for document in authority.documents}
    yield encode_event(make.roles_signed(again))  # same
    whole: RolesSigned = make.roles_signed({})
    yield encode_event(whole).replace(b'"roles":{}', b'"roles":{"mirrors":{}}')  # invalid


def _spoil(role: str, name: str, value: Any) -> Callable[[Files, Team], None]:
    def spoil(made: Files, _team: Team) -> None:
        made[role][name] = value

    return spoil


def _spoil_keys(made: Files, _team: Team) -> None:
    made["root"]["roles"]["timestamp"]["threshold"] = 9


def _share_key(made: Files, team: Team) -> None:
    for role in ("timestamp", "snapshot"):
        made["root"]["roles"][role]["keyids"] = [team.root[0].public_key.keyid]


# --- publications ------------------------------------------------------------------------------------------------


def bad_claims(prefix: Prefix, ledger: Ledger, team: Team) -> Iterator[Value]:
    """Records of `publications` that are not valid; in the end a claim that is stays open."""
    authority, head = authority_of(prefix), load_head(ledger, prefix)
    claim = factory.claim(prefix, head, head.number + 1, time=head.time)
    good = factory.seal_claim(claim, team.online)
    value = encode_record(good)
    yield from (None, b"", b"\xff", b"{}", b"[" * 40, value + b" ", value.replace(b'"number":', b'"number":1'))
    for changes in (
        {"origin": "ledger.example.org/other"},  # other-origin
        {"previous": "0" * 64},  # other-predecessor
        {"number": head.number},  # number
        {"size": head.size - 1},  # backwards
        {"time": "2029-12-31T23:59:59Z"},
        {"root_hash": "0" * 64},  # root-hash
        {"renew": ("bin-1", "bin-0")},  # renew
        {"renew": ("bin-ff",)},
    ):
        yield encode_record(factory.seal_claim(msgspec.structs.replace(claim, **changes), team.online))
    beyond = msgspec.structs.replace(claim, size=10**6)
    yield encode_record(factory.seal_claim(beyond, [STRANGER]))  # beyond the log, by a stranger: seal
    yield encode_record(factory.seal_claim(claim, [STRANGER]))  # seal
    yield encode_record(factory.seal_claim(claim, [*team.online, STRANGER]))
    open_claim = factory.opened(good)

    def complete(names: list[str], by: Team) -> Record:
        published = factory.publication(open_claim, authority, dict.fromkeys(names, b"{}"), b"{}", by)
        return factory.seal_publication(published, open_claim, authority, by)

    yield encode_record(complete(["bin-0"], team))  # no-open-claim
    yield value
    yield encode_record(complete(["bin-0", "bin-ff"], team))  # roles
    yield encode_record(complete(["bin-0"], team.but(online=(STRANGER,))))  # seal
