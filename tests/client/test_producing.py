"""`ledger.client`: what the service of an index imports."""

import json
import subprocess
import sys
from asyncio import to_thread
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ledger.client import build_event, digest_of, open_client
from ledger.http.posting import GatewayError, may_be_sent
from schemas.errors import NegativeAnswerError
from tests.client.index import Index

HEAVY = {"aiokafka", "aiosqlite", "click", "httpx", "rich", "sqlalchemy", "starlette", "structlog", "tuf", "uvicorn"}
WHO = {"source": "/my-index", "actor": "account-7", "actor_kind": "user"}


@pytest.fixture
def index(index: Index) -> Index:
    """A ledger with a project, `one`."""
    index.upload("one")
    index.publish()
    return index


def yank(version: str = "1.0", **more: object) -> bytes:
    """A yank of project `one`."""
    return build_event("release.yanked.v1", "one", {"version": version, "reason": None}, **WHO, **more)  # type: ignore[arg-type]


def test_importing_it_imports_no_client_of_anything() -> None:
    program = "import json, sys; import ledger.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert {name.partition(".")[0] for name in json.loads(done.stdout)} & HEAVY == set()


class TestBuilding:
    def test_an_event_has_what_it_was_given_and_no_more(self) -> None:
        event = yank(credential="token-3", incident="theft", event_id="7", time="2026-11-28T10:00:00.5Z")
        assert json.loads(event) == {
            "specversion": "1.0",
            "id": "7",
            "source": "/my-index",
            "type": "release.yanked.v1",
            "subject": "one",
            "time": "2026-11-28T10:00:00.5Z",
            "actorkind": "user",
            "actorid": "account-7",
            "actorcredential": "token-3",
            "incident": "theft",
            "data": {"version": "1.0"},
        }

    def test_times_are_utc_to_the_microsecond(self) -> None:
        east = datetime(2026, 11, 28, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=2)))
        assert json.loads(yank(time=east))["time"] == "2026-11-28T10:00:00.000007Z"
        assert json.loads(yank(time=datetime(2026, 11, 28, tzinfo=UTC)))["time"] == "2026-11-28T00:00:00.000000Z"
        assert json.loads(yank())["time"].endswith("Z")
        with pytest.raises(NegativeAnswerError, match="time zone"):
            yank(time=datetime(2026, 11, 28))  # noqa: DTZ001

    def test_ids_are_random(self) -> None:
        assert json.loads(yank())["id"] != json.loads(yank())["id"]

    @pytest.mark.parametrize(
        ("subject", "data", "why"),
        [
            ("Not Normalised", {"version": "1.0"}, "no valid subject"),
            ("one", {}, "version"),
            ("one", {"version": "1 0"}, "no valid version"),
        ],
    )
    def test_what_does_not_fit_its_schema_is_refused(self, subject: str, data: dict[str, str], why: str) -> None:
        with pytest.raises(NegativeAnswerError, match=why):
            build_event("release.yanked.v1", subject, data, **WHO)


class TestFolder:
    async def test_an_event_is_appended_and_its_outcome_is_found(self, index: Index) -> None:
        """Accepted, rejected with a code, of no effect the second time."""
        good, bad = yank(), yank("9.0")
        async with open_client(index.folder) as client:
            one, other = await client.append([good, bad])
            assert one.digest == digest_of(good)
            assert other.event == (one.event or 0) + 1
            assert await client.outcome(one.digest) is None
            assert await client.wait(one.digest, 0) is None
            number = await to_thread(index.publish)
            shown = await client.wait(one.digest, 60)
            assert shown is not None
            assert shown == (one.event, "accepted", "", "", number)
            refused = await client.outcome(other.digest)
            assert refused is not None
            assert refused[:3] == (other.event, "rejected", "no-release")
        await to_thread(index.publish)
        async with open_client(index.folder) as client:  # another process, which appended nothing
            assert await client.outcome(one.digest) == shown
            (again,) = await client.append([good])
            assert again.event != one.event
            await to_thread(index.publish)
            assert await client.outcome(one.digest) == shown, "the first one counts"

    async def test_a_rejected_event_may_come_again(self, index: Index) -> None:
        event = yank("2.0")
        async with open_client(index.folder) as client:
            await client.append([event])
            await to_thread(index.publish)
            shown = await client.outcome(digest_of(event))
            assert shown is not None
            assert shown.verdict == "rejected"
            await to_thread(index.upload, "one", "2.0")
            (second,) = await client.append([event])
            assert await client.outcome(second.digest) is None, "it is pending again"
            await to_thread(index.publish)
            shown = await client.outcome(second.digest)
            assert shown is not None
            assert shown[:2] == (second.event, "accepted")

    async def test_old_events_are_found_by_the_catalog(self, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ledger.locating.REMEMBERED", 1)
        async with open_client(index.folder) as client:
            one, _ = await client.append([yank(), yank("9.0")])
            await to_thread(index.publish)
            with pytest.raises(NegativeAnswerError, match="run catalog"):
                await client.outcome(one.digest)
        await to_thread(index.run, "log", "one")  # fills the catalog
        async with open_client(index.folder) as client:
            shown = await client.outcome(one.digest)
            assert shown is not None
            assert shown.event == one.event

    async def test_nothing_is_appended_if_one_does_not_fit(self, index: Index) -> None:
        before = (await to_thread(index.info))["sizes"]
        async with open_client(index.folder) as client:
            with pytest.raises(NegativeAnswerError, match="event 2 of 3"):
                await client.append([yank(), b"{", yank()])
        assert (await to_thread(index.info))["sizes"] == before

    async def test_holds_count_as_soon_as_they_are_covered(self, index: Index) -> None:
        async with open_client(index.folder) as client:
            brake = build_event("signing.held.v1", "signing", {}, **WHO)
            hold, content = await client.append([brake, yank()])
            await to_thread(index.publish)
            shown = await client.outcome(hold.digest)
            assert shown is not None
            assert shown.verdict == "accepted"
            assert await client.outcome(content.digest) is None


async def test_an_unknown_digest_is_said_to_be_so(index: Index) -> None:
    async with open_client(index.folder) as client:
        with pytest.raises(NegativeAnswerError, match="no event with the digest"):
            await client.outcome("0" * 64)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://packages.example.org", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080/", True),
        ("http://localhost:8080", True),
        ("http://packages.example.org", False),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1@packages.example.org", False),
        ("ftp://127.0.0.1", False),
    ],
)
def test_no_token_is_sent_for_all_to_read(url: str, answer: bool) -> None:
    assert may_be_sent(url) is answer


async def test_a_url_that_is_not_safe_is_refused() -> None:
    with pytest.raises(GatewayError, match="over https alone"):
        async with open_client("http://packages.example.org", token="secret"):
            pass
