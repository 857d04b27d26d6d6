"""What a stolen online key can do with claims, played by commands over whatever log a ledger has."""

import asyncio
from pathlib import Path

from consumers.render.outlets import NoOutlet
from consumers.service.opening import open_follower
from ledger.state.verdicts import load_judged_after
from schemas.codec import encode_record
from schemas.publications import Record, Seal
from tests import factory
from tests.client.attacker import Attacker
from tests.client.index import Index, tree

LAST = 2**53
FAR = {"number": LAST, "size": LAST, "time": "2999-12-31T23:59:59Z"}
HALTED = "sealed by a key that is online, beyond the end of `events`"


def create(folder: Path, *options: object) -> Index:
    """A ledger with one publication."""
    index = Index.create(folder, *options)
    index.upload("one")
    index.publish_and_check()
    return index


def all_agree(index: Index, target: Path) -> None:
    """Who reads from the beginning makes of the logs what was made of them record by record, in every way."""
    index.verify()
    index.run("rebuild", "--to", target, "--all-versions")
    assert tree(target / "metadata") == tree(index.public / "metadata")
    live = [(each["record"], each["code"]) for each in index.ask_list("rejected")]

    async def late() -> tuple[list[tuple[int, str]], int]:
        async with open_follower(index.context, "publisher", NoOutlet()) as opened:
            await opened.follower.catch_up()
            rows = await opened.store.run(load_judged_after, ["rejected"], ("", -1), 10**6)
            return [(row.record, row.code) for row in rows], opened.follower.head.number

    judged, number = asyncio.run(late())
    assert judged == live
    assert number == index.check().number


def a_replaced_key(index: Index, target: Path) -> None:
    """Its thief appends claims of any size: publishing goes on."""
    thief = Attacker(index)
    index.run("ceremony", "--replace-online")
    before = index.info()["sizes"]["publications"]
    thief.claim(**FAR)
    thief.claim(size=99)
    index.upload("two")
    assert list(index.publish_and_check().projects) == ["one", "two"]
    rejected = {each["record"]: each["code"] for each in index.ask_list("rejected")}
    assert rejected == {before: "seal", before + 1: "seal"}
    all_agree(index, target)


def the_key_that_is_online(index: Index, target: Path) -> None:
    """Its thief halts everybody; one replacement ends that, however many claims there are."""
    thief = Attacker(index)
    for number in (LAST, LAST - 1, 3):
        thief.claim(**{**FAR, "number": number})
    index.upload("two")
    for command, answer in (("publish", 2), ("verify", 1)):
        output = index.run(command, answer=answer)
        assert HALTED in output
        assert "If not, treat the key as stolen" in output
    index.run("ceremony", "--replace-online")
    thief.claim(**{**FAR, "number": LAST - 2})
    assert list(index.publish_and_check("--renew").projects) == ["one", "two"]
    assert [each["code"] for each in index.ask_list("rejected")] == ["seal", "seal", "seal", "seal"]
    all_agree(index, target)


def a_copied_seal(index: Index, target: Path) -> None:
    """Nobody without the key makes another record of a halting claim."""
    thief = Attacker(index)
    record = factory.seal_claim(thief.drafted(**FAR), thief.online)
    seal = record.signatures[0]
    for seals in ((Seal(keyid="0" * 64, sig="00"), seal), (seal, Seal(keyid="f" * 64, sig="00")), (seal, seal)):
        thief.append(encode_record(Record(signatures=seals, signed=record.signed)))
    index.upload("two")
    index.publish_and_check()
    assert [each["code"] for each in index.ask_list("rejected")] == ["seal"] * 3
    all_agree(index, target)


def a_late_publisher(index: Index, target: Path) -> None:
    """It meets a new root and the first claim by its key at once; and it was there before garbage and after."""

    async def follow() -> int:
        async with open_follower(index.context, "publisher", NoOutlet()) as opened:
            await opened.follower.catch_up()
            return opened.follower.head.number

    asyncio.run(follow())
    thief = Attacker(index)
    index.run("ceremony", "--replace-online")
    thief.claim(**FAR)
    index.upload("two")
    number = index.publish_and_check().number
    assert asyncio.run(follow()) == number
    all_agree(index, target)


SCENARIOS = (a_replaced_key, the_key_that_is_online, a_copied_seal, a_late_publisher)
