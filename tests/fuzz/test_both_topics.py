"""End to end: both topics are written by strangers while a signer works; nobody stops, and all agree."""

import tempfile
from pathlib import Path
from random import Random

import msgspec
import pytest

from ledger.state.verdicts import JudgedRow
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from tests import factory
from tests.factory import Team, ecdsa_signer, ed25519_signer
from tests.fuzz import oracle
from tests.fuzz.budget import seeds
from tests.fuzz.commands import rebuilt, verified
from tests.fuzz.inserting import Index
from tests.fuzz.strangers import Stranger
from tests.fuzz.world import SMALL, Signing, World


class Run:
    """One run: what happens is a function of the seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = rng = Random(seed)
        online = (ecdsa_signer("online 1"),) if rng.randrange(4) == 0 else (ed25519_signer("online 1"),)
        settings = Settings(
            ruleset=0,
            importing=True,
            html_pages=rng.random() < 0.4,
            project_list_seconds=rng.choice([0, 0, 100]),
            bin_expiry_seconds=rng.choice([1000, 604800]),
        )
        self.world = World(folder, SMALL.but(online=online, settings=settings, layout=Layout(rng.choice([1, 2, 4, 5]))))
        self.world.events.read_records = rng.choice([1, 3, 7, 1000])
        self.world.publications.read_records = rng.choice([1, 2, 1000])
        self.index = Index(rng, self.world.make)
        self.stranger = Stranger(rng, self.world)
        self.busy = rng.choice([0, 1, 4])
        self.live: list[JudgedRow] = []
        self.read = 0
        self.world.publications.strangers = lambda: self.stranger.records(rng.randrange(self.busy + 1))

    async def play(self) -> None:
        """Publish now and then, between what strangers append."""
        world, rng = self.world, self.rng
        world.begin()
        self.index.ceremonies.append(factory.ceremony(world.team))
        for _ in range(rng.randrange(1, 3)):  # the signer is stopped and started again
            async with world.signing() as signing:
                for _ in range(rng.randrange(1, 5)):
                    await self._round(signing)
                self.live = await signing.followed.judged()
                self.read = signing.follower.next_record
        world.publications.values.extend(self.stranger.records(self.busy))

    async def _round(self, signing: Signing) -> None:
        world, rng = self.world, self.rng
        current = signing.follower.tail.end.authority
        world.append(*self.index.batch(rng.choice([0, 5, 15, 30, 60]), world.team, current))
        if current is not None and rng.randrange(3) == 0:
            await signing.follower.tail.read_on()
            self._ceremony(signing)
        if rng.randrange(8) == 0:
            self._hold(signing)
        world.clock.advance(rng.choice([0, 1, 1, 50, 700]))
        await signing.signer.step(now=True)

    def _ceremony(self, signing: Signing) -> None:
        world, rng, team = self.world, self.rng, self.world.team
        number = rng.randrange(1000)
        changes: list[Team] = [
            team.but(online=(ed25519_signer(f"online {number}"),)),
            team.but(
                online=(*team.online[:1], ed25519_signer(f"online {number}")), online_threshold=rng.choice([1, 2])
            ),
            team.but(layout=Layout(rng.choice([1, 2, 3, 4]), rng.choice(["bin", "b"]))),
            team.but(layout=Layout(rng.choice([1, 2]), "p", succinct=False)),
            team.but(settings=msgspec.structs.replace(team.settings, html_pages=not team.settings.html_pages)),
            team.but(expires=f"20{rng.randrange(41, 99)}-01-01T00:00:00Z"),
        ]
        new = rng.choice(changes)
        self.stranger.old += [signer for signer in team.online if signer not in new.online]
        world.hold_ceremony(new, signing.authority)

    def _hold(self, signing: Signing) -> None:
        make, rng = self.world.make, self.rng
        hold = make.signing_held(rng.choice([None, 0, 2, 5, 2**53]))
        self.world.add(hold, make.signing_released(rng.choice([hold.id, hold.id, hold.id, "none"])))


@pytest.mark.parametrize("seed", seeds(40))
async def test_nobody_stops_and_all_agree(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(seed, Path(folder))
        await run.play()
        view = await oracle.check(run.world, rng=run.rng)
        # Those who were there when it was appended, and those who read it now.
        assert run.live == [row for row in view.judged if row.log == "events" or row.record < run.read]
        if view.number and seed % 4 == 0:
            await oracle.check_without_the_rejected(run.world, view)
        if view.number and seed % 4 == 1:
            assert (await verified(run.world)).differences == []
            _, current = await rebuilt(run.world)
            _, everything = await rebuilt(run.world, all_versions=True)
            assert current.items() <= everything.items() == view.files.items()
