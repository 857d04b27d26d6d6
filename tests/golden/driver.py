"""A ledger in a folder with seeded keys and a clock that stands still: the same calls give the same bytes."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from consumers.context import Context
from consumers.render.outlets import NoOutlet
from consumers.service.opening import open_follower
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from tests import factory
from tests.client.attacker import Attacker
from tests.client.index import FakeClock
from tests.factory import EPOCH_AT
from tests.golden.records import Value, append, create_log, read


class Driver:
    """Appends and publishes. `clock` is the signer's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.public = folder / "public"
        self.clock = FakeClock(EPOCH_AT)
        self.context = Context(folder)
        self._log = folder / "log"
        for name in ("events", "publications"):
            create_log(self._log / f"{name}.sqlite")

    def use_keys(self, *signers: CryptoSigner) -> tuple[CryptoSigner, ...]:
        """Give the signer these online keys, and no others."""
        keys = self.folder / "keys/online"
        shutil.rmtree(keys, ignore_errors=True)
        keys.mkdir(parents=True)
        for signer in signers:
            (keys / f"{signer.public_key.keyid}.pem").write_bytes(signer.private_bytes)
        return signers

    def thief(self) -> Attacker:
        """Somebody with the keys that the signer has now."""
        return Attacker(self)

    def append(self, *values: Value) -> None:
        """Append records to the events."""
        append(self._log / "events.sqlite", values)

    def append_publications(self, *values: Value) -> None:
        """Append records to the publications."""
        append(self._log / "publications.sqlite", values)

    def events(self) -> list[Value]:
        """All records of the events."""
        return read(self._log / "events.sqlite")

    def publications(self) -> list[Value]:
        """All records of the publications."""
        return read(self._log / "publications.sqlite")

    def publish(self, *, after: timedelta = timedelta(minutes=10), renew: bool = False) -> int:
        """Let time pass, and make a publication; returns its number."""
        self.clock.at += after
        schedule = Schedule(interval_seconds=0, grace_seconds=0, clock_days=10_000, renew_now=renew)
        return asyncio.run(self._publish(schedule))

    async def _publish(self, schedule: Schedule) -> int:
        async with open_follower(self.context, "signer", NoOutlet()) as opened:
            signer = Signer(
                follower=opened.follower,
                publications=opened.logs.publications,
                keyring=self.context.keyring(),
                clock=self.clock,
                schedule=schedule,
                workers=opened.workers,
                read_served=None,
            )
            made = await signer.step(now=True)
            assert made, "there was nothing to publish"
            return opened.follower.head.number


def online(number: int) -> CryptoSigner:
    """The online key of a number."""
    return factory.ed25519_signer(f"online {number}")
