"""Time passes: what is served never expires while the service runs, and nothing is renewed in one big wave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError

from consumers.render.outlets import PublicOutlet
from consumers.service.opening import open_follower
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from schemas.codec import Rejection, decode_publication_record
from schemas.publications import Claim
from tests.client.index import FakeClock, Index

DAY = timedelta(days=1)


@asynccontextmanager
async def signing(index: Index, clock: FakeClock, schedule: Schedule | None = None) -> AsyncIterator[Signer]:
    """A signer that publishes, on a clock of its own."""
    context = index.context
    storage = context.storage("signer")
    async with open_follower(context, "signer", PublicOutlet(storage), storage) as opened:
        yield Signer(
            follower=opened.follower,
            publications=opened.logs.publications,
            keyring=context.keyring(),
            clock=clock,
            schedule=schedule or Schedule(),
            workers=opened.workers,
            read_served=storage.read,
        )


async def _live(index: Index, clock: FakeClock, hours: int, *, check_every: int, every: int = 1) -> None:
    """Let a signer run for so many hours, as seen every so many; clients come just before it looks again."""
    async with signing(index, clock) as signer:
        for hour in range(0, hours, every):
            clock.advance(hours=every)
            if hour % check_every == 0:
                await asyncio.to_thread(index.check)
            while await signer.step():
                pass
    index.check()


def claims(index: Index) -> list[Claim]:
    """All claims on the log."""

    async def read() -> list[bytes | None]:
        logs = index.context.logs()
        await logs.open()
        try:
            values: list[bytes | None] = []
            while batch := await logs.publications.read(len(values)):
                values.extend(batch)
            return values
        finally:
            await logs.close()

    records = [decode_publication_record(value) for value in asyncio.run(read())]
    return [each.signed for each in records if not isinstance(each, Rejection) and isinstance(each.signed, Claim)]


def test_an_idle_service_keeps_its_timestamp_fresh(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", clock=clock)
    index.upload("one")
    index.publish()
    asyncio.run(_live(index, clock, 10 * 24, check_every=7))
    assert 20 <= len(claims(index)) <= 40, "about two publications a day, and some that renew bins"


def test_short_periods_too(tmp_path: Path, clock: FakeClock) -> None:
    options = ("--timestamp-expiry", "3h", "--snapshot-expiry", "12h", "--bin-expiry", "4h", "--bins", 32)
    index = Index.create(tmp_path / "index", *options, clock=clock)
    asyncio.run(_live(index, clock, 24, check_every=1))


def test_renewal_is_staggered(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", "--bins", 256, clock=clock)
    index.upload("one")
    index.publish()
    asyncio.run(_live(index, clock, 18 * 24, check_every=44, every=2))
    renewed = [len(claim.renew) for claim in claims(index)]
    assert max(renewed) <= 16
    assert sum(renewed) <= 256 * 6, "no bin is renewed more often than twice a period"


def test_a_busy_service_renews_no_more_at_a_time(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", "--bins", 128, clock=clock)

    async def live() -> None:
        async with signing(index, clock) as signer:
            for hour in range(0, 9 * 24, 2):
                clock.advance(hours=2)
                if hour % 12 == 0:
                    await asyncio.to_thread(index.upload, f"project-{hour}")
                while await signer.step():
                    pass

    asyncio.run(live())
    index.check()
    assert max(len(claim.renew) for claim in claims(index)) <= 16


def test_what_has_expired_is_renewed_all_at_once(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", "--bins", 128, clock=clock)
    index.upload("one")
    before = index.publish_and_check()
    clock.advance(days=30)
    with pytest.raises(ExpiredMetadataError):
        index.check()
    index.run("publish", answer=2)
    assert index.publish("--clock-checked") == before.number + 1
    assert index.check().projects == before.projects
    assert len(claims(index)[-1].renew) == 128


def test_publishing_by_a_timer_renews_in_time(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", "--bins", 256, clock=clock)
    for _ in range(18):
        clock.advance(hours=9)
        index.check()
        clock.advance(hours=1)
        index.publish()


def test_a_clock_behind_the_log_signs_nothing(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", clock=clock)
    index.upload("one")
    number = index.publish()
    index.upload("two")
    clock.advance(seconds=-61)
    assert "Set the clock: nothing is signed" in index.run("publish", answer=2)
    clock.advance(seconds=2)
    assert index.publish() == number + 1
    times = [claim.time for claim in claims(index)]
    assert times == sorted(times)


def test_offline_roles_are_renewed_by_a_ceremony(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", clock=clock)
    index.upload("one")
    before = index.publish_and_check()
    clock.advance(days=364)
    index.run("publish", "--clock-checked")
    index.check()
    index.run("ceremony", "--renew")
    clock.advance(days=5)
    assert index.publish() > before.number
    assert index.check().projects == before.projects
