"""Errors as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response

PROBLEM_TYPE = "application/problem+json"


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error for people and machines. No cache keeps it: what is missing now may be there in a second.

    Args:
        status: the status.
        detail: what is wrong, and what to do.
        headers: more headers.
    """
    title = HTTPStatus(status).phrase
    found = {"status": status, "title": title, **({} if detail in {"", title} else {"detail": detail})}
    more = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return Response(orjson.dumps(found), status, more, PROBLEM_TYPE)
