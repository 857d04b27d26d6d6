"""Mutations of records: of their bytes, and of the JSON in them. All of it is a function of a random generator."""

import gzip
import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

NESTED = 40


class Members(list[tuple[str, Any]]):
    """The members of an object in order; a name may stand twice."""


class Raw(NamedTuple):
    """A value as it is to be written."""

    text: str


def load(value: bytes) -> Any:
    """Read JSON without losing members that stand twice."""
    return json.loads(value, object_pairs_hook=Members, parse_int=_integer)


def _integer(digits: str) -> Any:
    """Python converts no more than 4,300 digits."""
    return int(digits) if len(digits) < 1000 else Raw(digits)


def dump(value: Any, rng: Random | None = None) -> bytes:
    """Write JSON; with a generator, in one of the many ways to write the same."""
    return _text(value, rng).encode("utf-8", "surrogatepass")


def _text(value: Any, rng: Random | None) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Members):
        members = list(value)
        if rng is not None:
            rng.shuffle(members)
        inner = f"{_space(rng)},{_space(rng)}".join(
            f"{_string(name, rng)}{_space(rng)}:{_space(rng)}{_text(member, rng)}" for name, member in members
        )
        return f"{{{_space(rng)}{inner}{_space(rng)}}}"
    if isinstance(value, list):
        return f"[{','.join(_text(member, rng) for member in value)}]"
    if isinstance(value, str):
        return _string(value, rng)
    return json.dumps(value)


def _space(rng: Random | None) -> str:
    return "" if rng is None else rng.choice(["", "", " ", "\n\t ", "\r"])


def _string(text: str, rng: Random | None) -> str:
    if rng is None or not text or rng.randrange(3):
        return json.dumps(text, ensure_ascii=rng is None or rng.random() < 0.5)
    position = rng.randrange(len(text))
    if ord(text[position]) > 0xFFFF:
        return json.dumps(text)
    parts = [json.dumps(part)[1:-1] for part in (text[:position], text[position + 1 :])]
    return f'"{parts[0]}\\u{ord(text[position]):04X}{parts[1]}"'


TEXTS = [
    "",
    " ",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "..\\..\\x",
    "a/../b",
    "/etc/passwd",
    "a//b",
    "a/",
    "con",
    "NUL.txt",
    "aux.",
    "a ",
    "a\n",
    "a\x00b",
    "\x7f\x9f\u2028",
    "\u202egnp.exe",
    "é",
    "e\u0301",
    "\uff11.\uff10",
    "\u212a",
    "\ufeff",
    "\U0001f600",
    "\ud800",
    "\udfff\ud800",
    "x" * 191,
    "x" * 1001,
    "\\" * 50,
    '"' * 50,
    "%2e%2e%2f",
    "${jndi:x}",
    "'; DROP TABLE judged; --",
    "<script>alert(1)</script>",
    "--><!--",
    "simple/a/index.json",
    "packages/00/00/00/a-1.0.tar.gz",
    "metadata/timestamp.json",
    "0" * 64 + ".a",
    "0" * 64,
    "2030-02-30T00:00:00Z",
    "2999-12-31T23:59:59.999999Z",
    "1.0",
    "1" * 128,
    "bin-0",
    "project:a",
]

OTHER: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**53,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**400,
    Raw("1e400"),
    Raw("-0"),
    Raw("1.0"),
    Raw("1e3"),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("01"),
    Raw("9" * 5000),
    Raw('"\\ud800"'),
    Raw('"\\uDC00\\ud800 \\\\ud800"'),
    Raw('"\\x"'),
    Raw("[" * NESTED + "]" * NESTED),
    Raw('{"a":' * NESTED + "1" + "}" * NESTED),
    Raw('{"a":1,"a":2}'),
    Raw('{"a":1,"\\u0061":2}'),
    Raw("{" + ",".join(f'"{number}":0' for number in range(5000)) + "}"),
    Raw("[" + ",".join(["0"] * 20_000) + "]"),
    [],
    Members(),
    [None],
    Members([("", "")]),
    Members([("type", "file.uploaded.v1")]),
]


def hostile(rng: Random) -> Any:
    """A value of any kind."""
    return rng.choice(TEXTS) if rng.randrange(2) else deepcopy(rng.choice(OTHER))


def places(value: Any) -> list[tuple[Any, int]]:
    """Every place in a document where a value stands: its container and its position there."""
    found: list[tuple[Any, int]] = []
    waiting = [value]
    while waiting:
        container = waiting.pop()
        for position in range(len(container)):
            found.append((container, position))
            member = container[position][1] if isinstance(container, Members) else container[position]
            if isinstance(member, list) and not isinstance(member, Raw):
                waiting.append(member)
    return found


def put(container: Any, position: int, value: Any) -> None:
    """Replace the value at a place."""
    container[position] = (container[position][0], value) if isinstance(container, Members) else value


def at(container: Any, position: int) -> Any:
    """The value at a place."""
    return container[position][1] if isinstance(container, Members) else container[position]


# --- mutations of JSON -------------------------------------------------------------------------------------------


def replace_value(rng: Random, document: Any) -> None:
    put(*rng.choice(places(document)), hostile(rng))


def replace_number(rng: Random, document: Any) -> None:
    chosen = [place for place in places(document) if type(at(*place)) is int]
    if chosen:
        place = rng.choice(chosen)
        put(*place, rng.choice([at(*place) + 1, at(*place) - 1, -at(*place), 0, 2**53, 2**53 + 1, 2**63, 10**400]))


def replace_text(rng: Random, document: Any) -> None:
    chosen = [place for place in places(document) if isinstance(at(*place), str)]
    if chosen:
        place = rng.choice(chosen)
        text = at(*place)
        put(
            *place,
            rng.choice(
                [
                    rng.choice(TEXTS),
                    text + rng.choice(["\n", " ", ".", "\x00", "/", "/..", "\u0301", "\ud800", "-"]),
                    rng.choice(["../", "/", " ", ".", "-", "\ufeff", "\x00"]) + text,
                    text.upper(),
                    text[:-1],
                    text * 3,
                    text[::-1],
                    text.replace("-", "_").replace("a", "A"),
                    text.replace("-", "--"),
                    text.replace("a", "\u0430"),
                ]
            ),
        )


def drop_member(rng: Random, document: Any) -> None:
    chosen = places(document)
    container, position = rng.choice(chosen)
    del container[position]


def double_member(rng: Random, document: Any) -> None:
    chosen = [place for place in places(document) if isinstance(place[0], Members)]
    container, position = rng.choice(chosen)
    name, member = container[position]
    container.insert(rng.randrange(len(container) + 1), (name, rng.choice([deepcopy(member), hostile(rng)])))


def add_member(rng: Random, document: Any) -> None:
    containers = [document, *(at(*place) for place in places(document) if isinstance(at(*place), Members))]
    rng.choice(containers).append((rng.choice(["x", "X-note", "type ", "", "\ud800", "id\x00"]), hostile(rng)))


def add_to_list(rng: Random, document: Any) -> None:
    lists = [at(*place) for place in places(document) if type(at(*place)) is list]
    if lists:
        chosen = rng.choice(lists)
        chosen.insert(rng.randrange(len(chosen) + 1), deepcopy(rng.choice([*chosen, hostile(rng)])))


def swap_values(rng: Random, document: Any) -> None:
    chosen = places(document)
    first, second = rng.choice(chosen), rng.choice(chosen)
    one, two = at(*first), at(*second)
    if isinstance(one, list) or isinstance(two, list):
        return  # an object must not come to lie within itself
    put(*first, two)
    put(*second, one)


def rename_member(rng: Random, document: Any) -> None:
    chosen = [place for place in places(document) if isinstance(place[0], Members)]
    container, position = rng.choice(chosen)
    container[position] = (rng.choice(TEXTS), container[position][1])


JSON_MUTATIONS: list[Callable[[Random, Any], None]] = [
    replace_value,
    replace_number,
    replace_text,
    replace_text,
    drop_member,
    double_member,
    add_member,
    add_to_list,
    swap_values,
    rename_member,
]


def mutate_json(rng: Random, value: bytes) -> bytes:
    """Change a record's JSON in one to three places, and perhaps how it is written."""
    document = load(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if document:
            rng.choice(JSON_MUTATIONS)(rng, document)
    return dump(document, rng if rng.randrange(4) == 0 else None)


# --- mutations of bytes ------------------------------------------------------------------------------------------


def flip_bits(rng: Random, value: bytes) -> bytes:
    changed = bytearray(value or b"x")
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: Random, value: bytes) -> bytes:
    return value[: rng.randrange(len(value) + 1)]


def cut_out(rng: Random, value: bytes) -> bytes:
    start = rng.randrange(len(value) + 1)
    return value[:start] + value[start + rng.choice([1, 2, 10]) :]


def insert(rng: Random, value: bytes) -> bytes:
    position = rng.randrange(len(value) + 1)
    inserted = rng.choice(
        [b"\x00", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xff", b'"', b"\\", b"{", b"]", b",", b"\xc0\x80"]
    )
    return value[:position] + inserted * rng.choice([1, 1, 2, 33]) + value[position:]


def surround(rng: Random, value: bytes) -> bytes:
    return rng.choice(
        [
            b" " + value,
            value + b"\n",
            value + b"\x00",
            value + value,
            b"\xef\xbb\xbf" + value,
            b"[" + value + b"]",
            b"[" * 33 + value + b"]" * 33,
            gzip.compress(value, mtime=0),
            value.decode("utf-8", "replace").encode("utf-16"),
            json.dumps(value.decode("utf-8", "replace")).encode(),
        ]
    )


def rewrite(rng: Random, value: bytes) -> bytes:
    """The same value, in other bytes."""
    return dump(load(value), rng)


def lengthen(rng: Random, value: bytes) -> bytes:
    """As long as a record may be, or a byte longer."""
    return value + b" " * max(0, 65_535 + rng.choice([0, 1]) - len(value))


def garbage(rng: Random, _: bytes) -> bytes | None:
    return rng.choice(
        [
            None,
            b"",
            b"null",
            b"{}",
            b"[]",
            b'""',
            b"0",
            b'{"type":null}',
            b'{"type":"file.uploaded.v2"}',
            b'{"type":"file.uploaded.v1"}',
            b'{"type":"' + b"x" * 60_000 + b'"}',
            b'"' + b"\\" * 60_000,
            b"[" * 65_535,
            b"]" * 30_000 + b"[" * 30_000,
            b'{"a":' * 13_000,
            b'""' * 30_000,
            b"x" * 65_536,
            rng.randbytes(rng.randrange(2000)),
        ]
    )


BYTE_MUTATIONS: list[Callable[[Random, bytes], bytes | None]] = [
    flip_bits,
    cut,
    cut_out,
    insert,
    surround,
    rewrite,
    rewrite,
    lengthen,
    garbage,
]


def mutate(rng: Random, value: bytes) -> bytes | None:
    """Another record, made of this one."""
    try:
        if rng.randrange(3):
            return mutate_json(rng, value)
        return rng.choice(BYTE_MUTATIONS)(rng, value)
    except (ValueError, RecursionError):
        return flip_bits(rng, value)  # it is no JSON to begin with, or too deep for us
