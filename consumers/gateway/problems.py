"""Errors as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

PROBLEM_TYPE = "application/problem+json"


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, facts: Mapping[str, Any] | None = None
) -> Response:
    """An error for people and machines. No cache keeps it: what is missing now may be there in a second.

    Args:
        status: the status.
        detail: what is wrong, and what to do.
        headers: more headers.
        facts: more members, for machines (RFC 9457, section 3.2).
    """
    title = HTTPStatus(status).phrase
    found = {**(facts or {}), "status": status, "title": title, **({} if detail in {"", title} else {"detail": detail})}
    more = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return Response(orjson.dumps(found), status, more, PROBLEM_TYPE)
