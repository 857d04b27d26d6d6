"""Events over HTTP: appending them at a gateway, and asking it what became of them (docs/publishing.md)."""

import asyncio
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from time import monotonic
from typing import Any

import httpx

from schemas.errors import LedgerError, NegativeAnswerError, TemporaryError

TIMEOUT_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
"""How long it does as it is asked to by a gateway that takes only so many events a second."""
BATCH_TYPE = "application/cloudevents-batch+json"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed later."""


class GatewayError(LedgerError):
    """A gateway does not take what is sent, or answers what cannot be understood."""


class GatewayUnavailableError(GatewayError, TemporaryError):
    """A gateway does not answer, or asks to be asked again later."""


class Gateway:
    """A gateway's `/events`.

    Args:
        url: the URL that `/events` is below.
        token: the producer's token.
        cafile: certificates of authorities to trust instead of the system's.

    Raises:
        GatewayError: the URL is neither `https:` nor `http:` to this machine: the token would be there for all to read.
    """

    def __init__(self, url: str, token: str, *, cafile: str | None = None) -> None:
        self._url = f"{url.rstrip('/')}/events"
        if not may_be_sent(url):
            raise GatewayError(f"{url}: a token is sent over https alone, or over http to this machine")
        is_https = httpx.URL(url).scheme == "https"
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            verify=ssl.create_default_context(cafile=cafile) if is_https else True,
            follow_redirects=False,
            # A proxy of the environment would read the token; over https it passes on what it cannot read.
            trust_env=is_https,
        )

    async def append(self, values: Sequence[bytes]) -> list[dict[str, Any]]:
        """Append events in this order: all of them or none. The answers have `event` and `digest`.

        Raises:
            NegativeAnswerError: the gateway refuses the events.
            GatewayError: it refuses the token, or answers something else.
        """
        body = b"[" + b",".join(values) + b"]"
        answers = await self._ask("POST", self._url, content=body, headers={"Content-Type": BATCH_TYPE})
        if not isinstance(answers, list) or len(answers) != len(values):
            raise GatewayError(f"{self._url}: the answer is not one of a gateway: is this the URL of one?")
        return answers

    async def ask(self, digest: str) -> dict[str, Any] | None:
        """What the gateway knows of an event; None: no such event is on the log.

        Raises:
            GatewayError: it refuses the token, or answers something else.
        """
        answer = await self._ask("GET", f"{self._url}/{digest}")
        if answer is not None and not isinstance(answer, dict):
            raise GatewayError(f"{self._url}: the answer is not one of a gateway: is this the URL of one?")
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, method: str, url: str, **options: Any) -> Any:
        deadline = monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = await self._client.request(method, url, **options)
            except httpx.HTTPError as error:
                raise GatewayUnavailableError(f"{url}: {str(error) or type(error).__name__}") from error
            pause_seconds = _asked_pause(response)
            if pause_seconds is None or monotonic() + pause_seconds > deadline:
                break
            await asyncio.sleep(pause_seconds)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success:
            return answer
        problem = answer if isinstance(answer, dict) else {}
        why = f"{url}: {response.status_code} {problem.get('detail') or problem.get('title') or response.reason_phrase}"
        if response.status_code in _PASSING:
            raise GatewayUnavailableError(why)
        if response.status_code == httpx.codes.NOT_FOUND and method == "GET":
            return None
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise NegativeAnswerError(why)
        raise GatewayError(why)


def _asked_pause(response: httpx.Response) -> int | None:
    """How many seconds a producer is asked to wait that sends too fast (RFC 6585, section 4); None: it is not."""
    text = response.headers.get("Retry-After", "")
    is_asked = response.status_code == httpx.codes.TOO_MANY_REQUESTS and text.isascii() and text.isdigit()
    return int(text[:9]) if is_asked else None


def may_be_sent(url: str) -> bool:
    """Whether a token may be sent to a URL: nobody on the way can read it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    if parsed.scheme == "https":
        return True
    try:
        is_here = parsed.host == "localhost" or ip_address(parsed.host).is_loopback
    except ValueError:
        is_here = False
    return parsed.scheme == "http" and is_here
