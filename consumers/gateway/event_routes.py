"""`/events`: CloudEvents over HTTP, from producers with a token (docs/publishing.md).

Structured mode, one event (`application/cloudevents+json`) or a batch (`application/cloudevents-batch+json`), as
"HTTP Protocol Binding for CloudEvents" 1.0.2 has them in sections 3.2 and 3.3. The bytes of an event are appended as
they stand in the body. Everything is checked before anything is appended.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec
import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from consumers.context import Context
from consumers.gateway.intake import POLL_SECONDS, Intake
from consumers.gateway.problems import problem
from consumers.gateway.producers import Producer, Producers
from ledger.client import digest_of, explain
from ledger.locating import Located, Standing
from schemas.codec import Rejection, decode_event, replace_surrogates
from schemas.events import BaseEvent, ProjectEvent

SINGLE_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"

MOST_BODY_BYTES: Final = 8 * 2**20
MOST_EVENTS: Final = 1000
MOST_AT_ONCE: Final = 32
"""How many requests are read and appended at once; more are sent away."""
MOST_WAITING: Final = 256
"""How many requests wait for a publication; more are answered at once."""
EVENTS_PER_SECOND: Final = 1000.0
EVENTS_AT_ONCE: Final = 10_000.0
"""What each producer may append and ask for: on average, and after a pause."""
WAIT_SECONDS: Final = 20.0
"""How long `?wait=shown` waits at most: less than what stops connections waits for answers."""
MOST_PROBLEMS: Final = 100

log = structlog.get_logger()

_DIGEST = re.compile("[0-9a-f]{64}")
_BEARER = re.compile(r"Bearer +([\w.~+/-]+=*)", re.ASCII | re.IGNORECASE)
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JSON = "application/json"


class _Sent(NamedTuple):
    """An event of a request: its bytes, as they are appended, and what it says."""

    value: bytes
    event: BaseEvent
    digest: str


class EventRoutes:
    """Answers requests below `/events`. Used by one event loop.

    Args:
        producers: who may append.
        intake: where to.
        stop: set when answers must not wait any longer.
        trusts_forwarded: whether a server before this one says truly, in `X-Forwarded-Proto`, how clients came to it.
    """

    def __init__(
        self, producers: Producers, intake: Intake, stop: asyncio.Event, *, trusts_forwarded: bool = False
    ) -> None:
        self._producers = producers
        self._intake = intake
        self._stop = stop
        self._trusts_forwarded = trusts_forwarded
        self._allowances: dict[str, _Allowance] = {}
        self._in_work = 0
        self._waiting = 0

    def routes(self) -> list[BaseRoute]:
        """The routes."""
        return [
            Route("/events", self.append, methods=["POST"]),
            Route("/events/{digest}", self.ask, methods=["GET"]),
        ]

    async def append(self, request: Request) -> Response:
        """`POST /events`."""
        producer = await self._producer(request)
        waits = _wants_outcome(request)
        if self._in_work >= MOST_AT_ONCE:
            raise HTTPException(503, "too many producers append: try again soon", {"Retry-After": "1"})
        self._in_work += 1
        try:
            is_batch = _is_batch(request)
            body = await _read_body(request)
            # In threads: a batch can take a second, and others are served meanwhile.
            values = await asyncio.to_thread(_events_in, body, is_batch=is_batch)
            sent, refused = await asyncio.to_thread(_check, producer, values)
            if refused is not None:
                return refused
            self._take(producer, len(sent))
            standings = await self._intake.append([each.value for each in sent])
        finally:
            self._in_work -= 1
        last = max(each.event for each in standings.values())
        log.info("events taken", producer=producer.producer, events=len(standings), last_event=last)
        if waits:
            standings |= await self._wait(request, list(standings), WAIT_SECONDS)
        answers = [_answer(each, standings[each.digest]) for each in sent]
        is_done = all(each.shown for each in standings.values())
        headers = {} if is_batch else {"Location": f"/events/{sent[0].digest}"}
        return _json(200 if is_done else 202, answers if is_batch else answers[0], headers)

    async def ask(self, request: Request) -> Response:
        """`GET /events/DIGEST`."""
        producer = await self._producer(request)
        self._take(producer, 1)
        digest = request.path_params["digest"]
        if not _DIGEST.fullmatch(digest):
            raise HTTPException(404, "after /events/, write the SHA-256 of an event's bytes, in lower-case hexadecimal")
        wait_seconds = WAIT_SECONDS if _wants_outcome(request) else 0.0
        found = await self._wait(request, [digest], wait_seconds)
        if not found:
            raise HTTPException(
                404,
                "no event with this digest is on the log, or it is an old one and no catalog is kept up to date here "
                "(`tuf-ledger run catalog`)",
            )
        return _json(200, {"digest": digest, **_facts(found[digest])}, {})

    # --- who asks ------------------------------------------------------------------------------------------------

    async def _producer(self, request: Request) -> Producer:
        """Whose request it is.

        Raises:
            HTTPException: nobody's, or others could read the token on its way.
        """
        if not self._came_safely(request):
            raise HTTPException(
                403, "a token is taken over https alone: others can have read this one on its way, so replace it"
            )
        found = _BEARER.fullmatch(request.headers.get("authorization", "").strip())
        producer = None if found is None else await self._producers.find(found[1])
        if producer is None:
            why = "the token is not known" if found else "send `Authorization: Bearer TOKEN`"
            raise HTTPException(401, why, {"WWW-Authenticate": 'Bearer realm="events"'})
        return producer

    def _came_safely(self, request: Request) -> bool:
        """Whether nobody could read the request on its way: it came by TLS, or from this machine."""
        if request.scope["scheme"] == "https":
            return True
        forwarded = request.headers.getlist("x-forwarded-proto")
        if forwarded:
            # Without trust it is believed where it says no: a proxy on this machine tells that its client came by http.
            is_https = [each.strip().lower() for each in ",".join(forwarded).split(",")] == ["https"]
            return is_https and (self._trusts_forwarded or _is_here(request))
        return _is_here(request)

    def _take(self, producer: Producer, events: int) -> None:
        """Count events against what a producer may append and ask for.

        Raises:
            HTTPException: it is too much for now.
        """
        allowance = self._allowances.setdefault(producer.sha256, _Allowance())
        seconds = allowance.take(events)
        if seconds:
            raise HTTPException(
                429,
                f"a producer may append and ask for {EVENTS_PER_SECOND:g} events a second: try again in {seconds} s",
                {"Retry-After": f"{seconds}"},
            )

    # --- what became of it ---------------------------------------------------------------------------------------

    async def _wait(self, request: Request, digests: list[str], wait_seconds: float = 0) -> dict[str, Standing]:
        """How events stand, by digest, as soon as all are shown, or after a time; without those that are not known."""
        if self._waiting >= MOST_WAITING:
            wait_seconds = 0
        self._waiting += 1
        try:
            places = await self._intake.find(digests)
            return await self._wait_for(request, places, monotonic() + wait_seconds)
        finally:
            self._waiting -= 1

    async def _wait_for(
        self, request: Request, places: dict[str, list[Located]], deadline: float
    ) -> dict[str, Standing]:
        standings: dict[str, Standing] = {}
        seen: tuple[int, int] | None = None
        while True:
            position = await self._intake.position()
            if position != seen:
                seen = position
                found = await self._intake.standings(list(places.values()))
                standings = dict(zip(places, found, strict=True))
            if all(each.shown for each in standings.values()) or monotonic() >= deadline or self._stop.is_set():
                return standings
            if await request.is_disconnected():
                return standings
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def open_event_routes(context: Context, stop: asyncio.Event) -> AsyncIterator[list[BaseRoute]]:
    """The routes below `/events`, as `[gateway]` configures them: none if there is no file of producers.

    Raises:
        ConfigError: the file of producers cannot be used.
    """
    section = context.config.gateway
    if not section.producers:
        yield []
        return
    producers, intake = Producers(context.path(section.producers)), Intake(context)
    await producers.check()
    try:
        yield EventRoutes(producers, intake, stop, trusts_forwarded=section.forwarded == "trusted").routes()
    finally:
        await intake.close()


class _Allowance:
    """How many events a producer may append now: a bucket of tokens that fills steadily."""

    def __init__(self) -> None:
        self._left = EVENTS_AT_ONCE
        self._at = monotonic()

    def take(self, count: int) -> int:
        """Take so many; return after how many seconds there are enough (0: they were taken)."""
        now = monotonic()
        self._left = min(EVENTS_AT_ONCE, self._left + (now - self._at) * EVENTS_PER_SECOND)
        self._at = now
        if self._left >= count:
            self._left -= count
            return 0
        return int((count - self._left) / EVENTS_PER_SECOND) + 1


def _is_here(request: Request) -> bool:
    """Whether the request came from this machine."""
    if request.client is None:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    # A socket for both kinds has clients of IPv4 as ::ffff:127.0.0.1, which Python takes for a loopback only lately.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _wants_outcome(request: Request) -> bool:
    wait = request.query_params.get("wait")
    if wait not in {None, "shown"}:
        raise HTTPException(400, "write ?wait=shown to wait for the publication, or leave it out")
    return wait is not None


def _is_batch(request: Request) -> bool:
    kind, _, parameter = request.headers.get("content-type", "").partition(";")
    known = {SINGLE_TYPE: False, BATCH_TYPE: True}
    if kind.strip().lower() not in known or parameter.strip().lower().replace('"', "") not in {"", "charset=utf-8"}:
        raise HTTPException(415, f"send {SINGLE_TYPE} (one event) or {BATCH_TYPE} (an array), in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the body as it is, without a content encoding")
    return known[kind.strip().lower()]


async def _read_body(request: Request) -> bytes:
    too_long = HTTPException(413, f"a body has at most {MOST_BODY_BYTES:,} bytes: send fewer events at once")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MOST_BODY_BYTES:
        raise too_long
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > MOST_BODY_BYTES:
                raise too_long
    except ClientDisconnect:
        raise HTTPException(400, "the body did not come to its end") from None
    return bytes(body)


def _events_in(body: bytes, *, is_batch: bool) -> list[bytes]:
    """The bytes of each event in a body, as they stand there.

    Raises:
        HTTPException: it is no array, or has too many events, or none.
    """
    if not is_batch:
        return [body.strip(b" \t\r\n")]
    readable = replace_surrogates(body)  # they may stand in an event; all else is where it was
    try:
        elements = msgspec.json.decode(readable, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is no array of events: {error}") from None
    if not 0 < len(elements) <= MOST_EVENTS:
        raise HTTPException(413 if elements else 400, f"a batch has 1 to {MOST_EVENTS:,} events, not {len(elements):,}")
    values, at = [], 0
    for each in elements:
        at = readable.index(each, at)
        values.append(body[at : at + len(each)])
        at += len(each)
    return values


def _check(producer: Producer, values: Sequence[bytes]) -> tuple[list[_Sent], Response | None]:
    """The events of a request; or the answer to one that is not appended."""
    sent: list[_Sent] = []
    unfit: list[dict[str, Any]] = []
    forbidden: list[dict[str, Any]] = []
    for number, value in enumerate(values):
        event = decode_event(value)
        if isinstance(event, Rejection):
            unfit.append({"number": number, "code": event.code, "why": explain(event)})
        elif why := producer.refusal(event):
            forbidden.append({"number": number, "why": why})
        else:
            sent.append(_Sent(value, event, digest_of(value)))
    status, wrong = (422, unfit) if unfit else (403, forbidden)
    if not wrong:
        return sent, None
    first = f"event {wrong[0]['number']}: {wrong[0]['why']}"
    return sent, problem(
        status, f"nothing was appended: {first}", facts={"count": len(wrong), "problems": wrong[:MOST_PROBLEMS]}
    )


def _answer(sent: _Sent, standing: Standing) -> dict[str, Any]:
    answer: dict[str, Any] = {"digest": sent.digest, "type": str(sent.event.__struct_config__.tag)}
    if isinstance(sent.event, ProjectEvent):
        answer["project"] = sent.event.subject
    return answer | _facts(standing)


def _facts(standing: Standing) -> dict[str, Any]:
    """What became of an event, for machines."""
    shown = standing.shown
    if shown is None:
        return {"event": standing.event, "standing": "held" if standing.is_held else "pending"}
    return {
        "event": shown.event,
        "standing": "shown",
        "verdict": shown.verdict,
        "code": shown.code,
        "why": shown.why,
        "publication": shown.publication,
    }


def _json(status: int, value: Any, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(value), status, {**_NO_STORE, **headers}, _JSON)
