"""With a stolen online key and write access to `publications`: whatever is published that is not what the events make
halts every follower, by number and record, and nothing of it is served.
"""

import json
import tempfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.render.edition import DivergenceError
from projections.roles.authority import Void
from schemas.publications import Publication
from tests.factory import digest, ed25519_signer
from tests.fetcher import Fetcher, from_files, new_updater
from tests.fuzz import oracle
from tests.fuzz.oracle import first_root
from tests.fuzz.thief import Draft, Signed, changed, digest_of, draft, with_role
from tests.fuzz.world import SMALL, World, following

Forger = Callable[[Draft], tuple[bytes, bytes]]
LIE = {"hashes": {"sha256": digest("lie")}, "length": 7}


@pytest.fixture
async def world(world: World) -> World:
    """A ledger with two publications, and an upload that is not published yet."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"), world.make.file_uploaded("b"))
        await signing.publish(world.make.file_uploaded("c"), world.make.target_added("t"))
    world.add(world.make.file_uploaded("a", "2.0"))
    return world


def first_changed(each: Draft) -> str:
    return each.names[0]


def unchanged(each: Draft) -> str:
    """A bin that has nothing to be signed for."""
    return next(name for name in map(each.authority.layout.name, range(4)) if name not in each.payloads)


def forge_bin(change: Callable[[Signed], None]) -> Forger:
    return lambda each: each.but_bin(first_changed(each), change).sealed()


def forge_snapshot(change: Callable[[Signed], None]) -> Forger:
    return lambda each: each.but_snapshot(change).sealed()


def forge_publication(change: Callable[[Draft, Publication], Publication]) -> Forger:
    return lambda each: each.sealed(lambda published: change(each, published))


def add_target(signed: Signed) -> None:
    signed["targets"]["packages/evil"] = LIE


def drop_target(signed: Signed) -> None:
    signed["targets"].popitem()


def change_target(signed: Signed) -> None:
    signed["targets"][min(signed["targets"])] = LIE


def empty(signed: Signed) -> None:
    signed["targets"] = {}


def higher(signed: Signed) -> None:
    signed["version"] += 1


def lower(signed: Signed) -> None:
    signed["version"] -= 1


def never_expire(signed: Signed) -> None:
    signed["expires"] = "2999-01-01T00:00:00Z"


def delegate(signed: Signed) -> None:
    signed["delegations"] = {"keys": {}, "roles": []}


def drop_name(signed: Signed) -> None:
    del signed["meta"][min(signed["meta"])]


def other_versions(by: int) -> Callable[[Signed], None]:
    def change(signed: Signed) -> None:
        for name, meta in signed["meta"].items():
            if name.startswith("bin-"):
                meta["version"] += by

    return change


def other_bins(signed: Signed) -> None:
    signed["meta"]["bins.json"]["version"] += 1


def other_log(signed: Signed) -> None:
    signed["x-ledger"]["size"] -= 1


def one_more_name(signed: Signed) -> None:
    signed["meta"]["bin-zz.json"] = {"version": 1}


def leave_out(each: Draft) -> tuple[bytes, bytes]:
    """A bin that changed is not signed; the snapshot goes on listing the version before."""
    name = first_changed(each)
    before = {role: payload for role, payload in each.payloads.items() if role != name}

    def stay(signed: Signed) -> None:
        signed["meta"][f"{name}.json"]["version"] = 1

    return each.but(payloads=before).but_snapshot(stay).sealed()


def one_more(each: Draft) -> tuple[bytes, bytes]:
    """A bin is signed in which nothing changed; all else says so too."""
    name, number = unchanged(each), each.claim.number
    served = json.loads(each.payloads[first_changed(each)])
    targets = _targets_before(each, name)
    payload = changed(json.dumps({**served, "targets": targets}).encode(), lambda _: None)

    def list_it(signed: Signed) -> None:
        signed["meta"][f"{name}.json"]["version"] = number

    return each.but(payloads={**each.payloads, name: payload}).but_snapshot(list_it).sealed()


_BEFORE: dict[str, Any] = {}


def _targets_before(each: Draft, name: str) -> Any:
    assert each.head.number
    return _BEFORE[name]


def swap(each: Draft) -> tuple[bytes, bytes]:
    """Two bins have each other's content."""
    first, second = each.names[:2]
    return each.but(payloads={**each.payloads, first: each.payloads[second], second: each.payloads[first]}).sealed()


def not_canonical(each: Draft) -> tuple[bytes, bytes]:
    name = first_changed(each)
    return each.but(payloads={**each.payloads, name: each.payloads[name].replace(b":", b": ", 1)}).sealed()


def other_length(by: int) -> Callable[[Draft, Publication], Publication]:
    def change(_: Draft, published: Publication) -> Publication:
        digest64, length, signatures = published.snapshot
        return msgspec.structs.replace(published, snapshot=(digest64, length + by, signatures))

    return change


def other_snapshot_digest(_: Draft, published: Publication) -> Publication:
    return msgspec.structs.replace(published, snapshot=(_b64("lie"), *published.snapshot[1:]))


def no_snapshot_signature(_: Draft, published: Publication) -> Publication:
    return msgspec.structs.replace(published, snapshot=(*published.snapshot[:2], ("",)))


def other_role_digest(_: Draft, published: Publication) -> Publication:
    (name, _digest, signatures), *rest = published.roles
    return msgspec.structs.replace(published, roles=((name, _b64("lie"), signatures), *rest))


def no_role_signature(_: Draft, published: Publication) -> Publication:
    (name, digest64, _signatures), *rest = published.roles
    return msgspec.structs.replace(published, roles=((name, digest64, ("",)), *rest))


def other_role_signature(_: Draft, published: Publication) -> Publication:
    (name, digest64, _signatures), *rest = published.roles
    return msgspec.structs.replace(published, roles=((name, digest64, published.snapshot[2]), *rest))


def other_base64(_: Draft, published: Publication) -> Publication:
    """The same digest in base64, but for bits that no decoder looks at."""
    (name, digest64, signatures), *rest = published.roles
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = digest64[:42] + last[last.index(digest64[42]) + 1] + "="
    return msgspec.structs.replace(published, roles=((name, other, signatures), *rest))


def no_roles(_: Draft, published: Publication) -> Publication:
    return msgspec.structs.replace(published, roles=())


def every_role(each: Draft, published: Publication) -> Publication:
    for index in range(each.authority.layout.count):
        name = each.authority.layout.name(index)
        if name not in each.payloads:
            published = with_role(published, name, each.payloads[first_changed(each)], each.team, each.authority)
    return published


def _b64(text: str) -> str:
    return b64encode(bytes.fromhex(digest(text))).decode()


DIVERGENT: dict[str, Forger] = {
    "one more target": forge_bin(add_target),
    "a target fewer": forge_bin(drop_target),
    "another digest of a target": forge_bin(change_target),
    "an empty bin": forge_bin(empty),
    "a higher version of a bin": forge_bin(higher),
    "a lower version of a bin": forge_bin(lower),
    "a bin that never expires": forge_bin(never_expire),
    "a bin that delegates": forge_bin(delegate),
    "a bin in another form": not_canonical,
    "bins changed round": swap,
    "a changed bin left out": leave_out,
    "an unchanged bin signed": one_more,
    "a snapshot without a name": forge_snapshot(drop_name),
    "a snapshot with one more name": forge_snapshot(one_more_name),
    "a snapshot of higher versions": forge_snapshot(other_versions(1)),
    "a snapshot of lower versions": forge_snapshot(other_versions(-1)),
    "a snapshot of other bins": forge_snapshot(other_bins),
    "a snapshot of another size": forge_snapshot(other_log),
    "a snapshot that never expires": forge_snapshot(never_expire),
    "a snapshot of a higher version": forge_snapshot(higher),
    "a longer snapshot": forge_publication(other_length(1)),
    "a shorter snapshot": forge_publication(other_length(-1)),
    "another digest of the snapshot": forge_publication(other_snapshot_digest),
    "no signature of the snapshot": forge_publication(no_snapshot_signature),
    "another digest of a bin": forge_publication(other_role_digest),
    "no signature of a bin": forge_publication(no_role_signature),
    "another signature of a bin": forge_publication(other_role_signature),
    "another form of a digest": forge_publication(other_base64),
    "no bins at all": forge_publication(no_roles),
    "all bins, most of them wrong": forge_publication(every_role),
}


async def forged(world: World, name: str) -> tuple[bytes, bytes]:
    """Append a forged publication."""
    honest = await draft(world)
    view = await oracle.follow(world, skipping=False)
    snapshot = json.loads(view.files[f"metadata/{view.number}.snapshot.json"])["signed"]["meta"]
    _BEFORE.clear()
    for index in range(4):
        role = f"bin-{index}"
        file = view.files[f"metadata/{snapshot[f'{role}.json']['version']}.{role}.json"]
        _BEFORE[role] = json.loads(file)["signed"]["targets"]
    records = DIVERGENT[name](honest)
    world.publications.values.extend(records)
    return records


@pytest.mark.parametrize("name", DIVERGENT)
async def test_a_lie_halts_every_follower(world: World, name: str) -> None:
    served = dict(world.storage.tree.files)
    _, record = await forged(world, name)
    index = len(world.publications.values) - 1
    message = rf"publication 3 \(record {index}, SHA-256 {digest_of(record)}\)"
    async with following(world.logs) as followed:
        for _ in range(2):  # it stays where it is
            with pytest.raises(DivergenceError, match=message):
                await followed.follower.catch_up()
        assert followed.follower.head.number == 2
        assert followed.storage.tree.files["metadata/timestamp.json"] == served["metadata/timestamp.json"]
    async with world.signing() as signing:
        with pytest.raises(DivergenceError, match=message):
            await signing.publish()
    assert world.storage.tree.files == served


SIGNED_TOO_MUCH = "an unchanged bin signed"
"""A true version too many. Whoever skips takes what a publication signs for what it had to sign."""


@pytest.mark.parametrize("name", [name for name in DIVERGENT if name != SIGNED_TOO_MUCH])
async def test_a_lie_is_not_skipped(world: World, name: str) -> None:
    """Skipping finds what stepping finds."""
    await forged(world, name)
    async with following(world.logs) as followed:
        await followed.follower.skip()
        with pytest.raises(DivergenceError):
            await followed.follower.catch_up()
        assert followed.follower.head.number == 2


def refresh(world: World, cache: Path) -> None:
    """A client comes by."""
    new_updater(cache, first_root(world), Fetcher(from_files(world.storage.tree.files))).refresh()


@pytest.mark.parametrize("name", DIVERGENT)
async def test_a_later_root_voids_a_lie(world: World, name: str) -> None:
    """Every follower goes on alike: one that halted, one that begins, one that skips; and clients follow."""
    _, record = await forged(world, name)
    with tempfile.TemporaryDirectory() as cache:
        refresh(world, Path(cache))
        async with world.signing() as signing, following(world.logs) as halted:
            with pytest.raises(DivergenceError):
                await signing.publish()
            with pytest.raises(DivergenceError):
                await halted.follower.catch_up()
            new = SMALL.but(
                online=(ed25519_signer("online 2"),),
                void=Void(number=3, digest=digest_of(record)),
                settings=msgspec.structs.replace(SMALL.settings, floor=4),
            )
            world.hold_ceremony(new, signing.authority)
            assert await signing.publish()
            assert signing.follower.head.number == 4
            await halted.follower.catch_up()
            assert halted.follower.head == signing.follower.head
            assert halted.storage.tree.files == world.storage.tree.files
            assert await halted.judged() == await signing.followed.judged()
        refresh(world, Path(cache))
    view = await oracle.check(world)
    assert [(row.log, row.code) for row in view.judged] == [("publications", "void")]


INVALID: dict[str, Callable[[Publication], Publication]] = {
    "roles unsorted": lambda each: msgspec.structs.replace(each, roles=each.roles[::-1]),
    "a role twice": lambda each: msgspec.structs.replace(each, roles=(*each.roles, each.roles[-1])),
    "a role that is no bin": lambda each: _renamed(each, "bin-4"),
    "a role with a path": lambda each: _renamed(each, "../../bin-0"),
    "the snapshot as a role": lambda each: _renamed(each, "snapshot"),
    "two signatures": lambda each: msgspec.structs.replace(
        each, roles=tuple((name, sha, signatures * 2) for name, sha, signatures in each.roles)
    ),
    "no room for signatures": lambda each: msgspec.structs.replace(
        each, roles=tuple((name, sha, ()) for name, sha, _ in each.roles)
    ),
    "a signature that is no base64": lambda each: msgspec.structs.replace(
        each, snapshot=(each.snapshot[0], each.snapshot[1], ("A",))
    ),
}


def _renamed(published: Publication, name: str) -> Publication:
    *rest, (_, sha, signatures) = published.roles
    return msgspec.structs.replace(published, roles=(*rest, (name, sha, signatures)))


@pytest.mark.parametrize("name", INVALID)
async def test_what_is_not_even_valid_is_rejected(world: World, name: str) -> None:
    """It halts nobody; the claim stays open, and an honest signer completes it."""
    world.publications.values.extend((await draft(world)).sealed(INVALID[name]))
    async with world.signing() as signing:
        assert await signing.publish()
        assert signing.follower.head.number == 3
    view = await oracle.check(world)
    assert [(row.log, row.code) for row in view.judged] == [("publications", "roles")]
