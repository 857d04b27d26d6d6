"""What a monitor asks: alive, ready, and figures in the format of Prometheus.

The figures about publications are read when they are asked for: from what is served, and from the states and logs of
this machine, if there are any.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from math import inf
from time import monotonic
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from consumers.context import Context
from consumers.gateway.problems import problem
from consumers.gateway.public_files import PublicFiles
from consumers.render.outlets import served_version
from ledger.clock import Clock, from_instant
from ledger.state import StoreError
from ledger.state.picking import STATES
from ledger.state.position import load_position
from projections.metadata.paths import TIMESTAMP, metadata_path
from schemas.errors import LedgerError

FRESH_SECONDS: Final = 5.0
"""How long figures about publications are taken for the present ones: who asks all the time costs nothing."""
LAG_SECONDS: Final = 5.0
"""How long the logs have time to say how long they are: half of what Prometheus waits for all figures."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MOST_ROOTS = 1024

log = structlog.get_logger()


class Metrics:
    """Figures of one gateway. Used by one event loop.

    Args:
        files: what is served.
        context: the ledger, for how far this machine is behind the log; None: there is only what is served.
        clock: the clock.
    """

    def __init__(self, files: PublicFiles, context: Context | None, clock: Clock) -> None:
        self._files = files
        self._context = context
        self._clock = clock
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._root = 1
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tuf_ledger_requests", "Requests, by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "tuf_ledger_request_seconds",
            "Time from a request's head to the end of the answer.",
            ["route"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._in_work = Gauge("tuf_ledger_requests_in_work", "Requests that are being answered.", registry=registry)
        self._number = Gauge("tuf_ledger_publication", "The number of the served publication.", registry=registry)
        self._age = Gauge(
            "tuf_ledger_publication_age_seconds", "Time since the served publication was claimed.", registry=registry
        )
        self._expires = Gauge(
            "tuf_ledger_role_expires_timestamp_seconds",
            "When a served role expires, in seconds since 1970.",
            ["role"],
            registry=registry,
        )
        self._lag_events = Gauge(
            "tuf_ledger_lag_events", "Events on the log behind a consumer's state.", ["consumer"], registry=registry
        )
        self._lag_records = Gauge(
            "tuf_ledger_lag_records",
            "Records of publications on the log behind a consumer's state.",
            ["consumer"],
            registry=registry,
        )
        ProcessCollector(registry=registry)
        self._log_up = Gauge("tuf_ledger_log_up", "Whether the logs can be read: 1 or 0.", registry=registry)

    def begin(self) -> None:
        """A request has come."""
        self._in_work.inc()

    def end(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._in_work.dec()
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    # --- routes --------------------------------------------------------------------------------------------------

    async def healthz(self, _: Request) -> Response:
        """`/healthz`: the process answers."""
        return JSONResponse({"status": "ok"}, headers=_NO_STORE)

    async def readyz(self, _: Request) -> Response:
        """`/readyz`: clients get a publication that has not expired."""
        signed = await self._signed(TIMESTAMP)
        if signed is None:
            return problem(503, "there is no publication here yet")
        ends_at = _expiry(signed)
        if ends_at is None or ends_at <= self._clock.now():
            return problem(503, "the served timestamp has expired: see whether signer and publisher run")
        return JSONResponse({"status": "ok", "publication": signed.get("version")}, headers=_NO_STORE)

    async def metrics(self, _: Request) -> Response:
        """`/metrics`."""
        async with self._reading:
            if self._read_at is None or monotonic() - self._read_at >= FRESH_SECONDS:
                await self._read()
                self._read_at = monotonic()
        return Response(generate_latest(self._registry), headers=_NO_STORE, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    # --- figures -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        await self._read_served()
        if self._context is None:
            return
        self._lag_events.clear()
        self._lag_records.clear()
        try:
            async with asyncio.timeout(LAG_SECONDS):
                await self._read_lags(self._context)
            self._log_up.set(1)
        except (LedgerError, OSError) as error:  # TimeoutError, too
            self._log_up.set(0)
            log.warning("how far consumers are behind the log cannot be told", why=str(error))

    async def _read_served(self) -> None:
        timestamp = await self._signed(TIMESTAMP)
        found = {"timestamp": timestamp, "root": await self._last_root()}
        if timestamp is not None:
            found["snapshot"] = snapshot = await self._role("snapshot", timestamp)
            for role in ("targets", "bins"):
                found[role] = await self._role(role, snapshot)
        self._expires.clear()
        for role, signed in found.items():
            ends_at = None if signed is None else _expiry(signed)
            if ends_at is not None:
                self._expires.labels(role).set(ends_at.timestamp())
        self._number.set(0)
        self._age.set(inf)  # whoever waits for a great age hears of it
        if timestamp is None or found["root"] is None:
            return
        self._number.set(served_version(orjson.dumps({"signed": timestamp})))
        ends_at, lasts = _expiry(timestamp), _setting(found["root"], "timestamp_expiry_seconds")
        if ends_at is not None and lasts is not None:
            self._age.set(self._clock.now().timestamp() - (ends_at.timestamp() - lasts))

    async def _last_root(self) -> Mapping[str, Any] | None:
        for version in range(self._root + 1, self._root + _MOST_ROOTS):
            if await self._signed(metadata_path("root", version)) is None:
                break
            self._root = version
        return await self._signed(metadata_path("root", self._root))

    async def _role(self, role: str, parent: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """A role in the version that its parent lists."""
        try:
            return await self._signed(metadata_path(role, (parent or {})["meta"][f"{role}.json"]["version"]))
        except (KeyError, TypeError):
            return None

    async def _signed(self, path: str) -> Mapping[str, Any] | None:
        """What the signatures of a served file cover; None: it is no metadata, or not there."""
        try:
            signed = orjson.loads(await self._files.read(path) or b"")["signed"]
        except (ValueError, KeyError, TypeError):
            return None
        return signed if isinstance(signed, dict) else None

    async def _read_lags(self, context: Context) -> None:
        """Set how far states are behind the logs; until then nothing is said about any."""
        logs = context.logs()
        try:
            await logs.open()
            events, records = await logs.events.size(), await logs.publications.size()
        finally:
            await logs.close()
        for name in STATES:
            store = context.reading_store(name)
            try:
                await store.open()
                position = await store.run(load_position)
            except StoreError:
                continue
            finally:
                await store.close()
            self._lag_events.labels(name).set(events - (position.size if position else 0))
            self._lag_records.labels(name).set(max(0, records - (position.next_record if position else 0)))


def _expiry(signed: Mapping[str, Any]) -> datetime | None:
    try:
        return from_instant(signed["expires"])
    except (KeyError, TypeError, ValueError):
        return None


def _setting(root: Mapping[str, Any], name: str) -> float | None:
    found = root.get("x-ledger")
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) else None
