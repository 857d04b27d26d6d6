"""Canonical JSON: one byte string for one value.

Two encodings are in use and differ in one point only:

- `encode` writes what is stored and served: compact JSON with sorted members, valid by RFC 8259, so
  control characters are escaped.
- `encode_for_signing` writes what TUF signatures cover (TUF 1.0.34, section 4.2.1: "Canonical JSON"), in
  which only `"` and the backslash are escaped. A PEM public key has newlines, so for an offline role the two differ.

Everything an online key signs is free of control characters: there the two are the same bytes, and
`encode`, which is twenty times faster, is used for both.
"""

from typing import Any

import orjson
from securesystemslib.formats import encode_canonical

MAX_INTEGER = 2**53
"""Largest magnitude of an integer that every JSON implementation reads exactly (RFC 8259, section 6)."""


def encode(value: Any) -> bytes:
    """Encode as compact JSON with members sorted by code point.

    Raises:
        TypeError: the value holds something that JSON has no form for.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def encode_for_signing(value: Any) -> bytes:
    """Encode as the canonical JSON that TUF signatures cover.

    Raises:
        securesystemslib.exceptions.FormatError: the value holds a float or another type without a form.
    """
    text: str = encode_canonical(value)  # type: ignore[assignment]  # None only with an output function
    return text.encode("utf-8")
