"""Every code that sections 1 and 2 of docs/rules.md list, produced: check by check, in several ways each."""

from functools import partial
from typing import Any

import pytest

from projections.outcomes import Outcome
from schemas.codec import Rejection, decode_event, encode_event
from tests import factory
from tests.factory import Make, Team, digest
from tests.unit.codes import UPLOAD, Scenario, Scenarios, cases, check, codes_of, judged, replaced, without_root


def known_id(*, conflict: bool) -> Outcome:
    make = Make()
    prefix = factory.ready_prefix(make, Team())
    hold = make.signing_held()
    _, extension = factory.extend(prefix, hold, factory.change(hold, actorid="another") if conflict else hold)
    return extension.judged[-1].outcome


OTHER_LEDGER = factory.encode([Make().ledger_created(digest("root"))])[0]


def _with_role(role: str) -> Any:
    files = factory.ceremony(Team())
    return Make().roles_signed({role: files["root"]})


SECTION_1: Scenarios = {
    "null": {"a tombstone": partial(judged, None), "no root": partial(without_root, None)},
    "oversize": {
        "just": partial(judged, UPLOAD + b" " * (65_536 - len(UPLOAD))),
        "zeros": partial(judged, bytes(70_000)),
        "no root": partial(without_root, bytes(65_536)),
    },
    "too-deep": {
        "arrays": partial(judged, b"[" * 33 + b"]" * 33),
        "objects": partial(judged, b'{"a":' * 33 + b"1" + b"}" * 33),
        "in an unknown member": partial(judged, replaced(b'"data":{', b'"data":{"x":' + b"[" * 31 + b"]" * 31 + b",")),
        "garbage": partial(judged, b"[" * 65_535),
        "not even JSON": partial(judged, b"[" * 33 + b"\xff"),
    },
    "not-json": {
        "empty": partial(judged, b""),
        "text": partial(judged, b"hello"),
        "cut": partial(judged, UPLOAD[:-1]),
        "two values": partial(judged, UPLOAD + UPLOAD),
        "byte order mark": partial(judged, b"\xef\xbb\xbf" + UPLOAD),
        "UTF-16": partial(judged, UPLOAD.decode().encode("utf-16")),
        "ill-formed UTF-8": partial(judged, replaced(b"account-1", b"account-\xff")),
        "overlong": partial(judged, replaced(b"account-1", b"account-\xc0\x80")),
        "beyond Unicode": partial(judged, replaced(b"account-1", b"account-\xf4\x90\x80\x80")),
        "NaN": partial(judged, replaced(b'"length":1015', b'"length":NaN')),
        "NaN alone": partial(judged, b"NaN"),
        "infinity": partial(judged, replaced(b'"length":1015', b'"length":1,"x":-Infinity')),
        "single quotes": partial(judged, UPLOAD.replace(b'"', b"'")),
        "raw control character": partial(judged, replaced(b"account-1", b"account\n1")),
        "trailing comma": partial(judged, UPLOAD[:-1] + b",}"),
        "leading zero": partial(judged, replaced(b'"length":1015', b'"length":01014')),
        "bad escape": partial(judged, replaced(b"account-1", b"account\\x31")),
        "after duplicate members": partial(judged, b'{"a":1,"a":1'),
        "a number of 301 characters": partial(judged, replaced(b'"length":1015', b'"length":' + b"9" * 301)),
        "of an unknown type": partial(judged, b'{"type":"nope","x":-%s}' % (b"9" * 300)),
    },
    "duplicate-member": {
        "at the top": partial(judged, replaced(b'"id":', b'"id":"x","id":')),
        "in data": partial(judged, replaced(b'"length":', b'"length":1,"length":')),
        "same value": partial(judged, replaced(b'"version":"1.0"', b'"version":"1.0","version":"1.0"')),
        "equal when unescaped": partial(judged, replaced(b'"length":', b'"len\\u0067th":1,"length":')),
        "in an unknown member": partial(judged, replaced(b'"data":{', b'"x":[{"a":[{"b":1,"b":2}]}],"data":{')),
        "of an unknown type": partial(judged, b'{"type":"x","type":"x"}'),
        "empty names": partial(judged, b'{"":1,"":2}'),
        "surrogates, equal when replaced": partial(judged, b'{"\\ud800":1,"\\udfff":2}'),
        "in an array": partial(judged, b'[{"a":1,"a":1}]'),
    },
    "unknown-type": {
        "another": partial(judged, replaced(b"file.uploaded.v1", b"file.uploaded.v2")),
        "empty": partial(judged, replaced(b"file.uploaded.v1", b"")),
        "other case": partial(judged, replaced(b"file.uploaded.v1", b"File.Uploaded.v1")),
        "nothing else": partial(judged, b'{"type":"nope"}'),
        "a type of the other log": partial(judged, b'{"type":"claim"}'),
        "with a long name": partial(judged, b'{"type":"%s"}' % (b"x" * 60_000)),
        "no root": partial(without_root, b'{"type":"nope"}'),
        "none": partial(judged, b"{}"),
        "no text": partial(judged, b'{"type":["file.uploaded.v1"]}'),
        "no object": partial(judged, b'"file.uploaded.v1"'),
    },
    "invalid": {
        "no id": partial(judged, replaced(b'"id":"event-000001",', b"")),
        "no date": partial(judged, replaced(b"2030-01-01T", b"2030-02-30T")),
        "February 29": partial(judged, replaced(b"2030-01-01T", b"2030-02-29T")),
        "month 13": partial(judged, replaced(b"2030-01-01T", b"2030-13-01T")),
        "day 0": partial(judged, replaced(b"2030-01-01T", b"2030-01-00T")),
        "leap second": partial(judged, replaced(b"00:00:01Z", b"23:59:60Z")),
        "offset": partial(judged, replaced(b"00:00:01Z", b"00:00:01+00:00")),
        "seven digits of fraction": partial(judged, replaced(b"00:00:01Z", b"00:00:01.1234567Z")),
        "pattern": partial(judged, replaced(b'"subject":"demo"', b'"subject":"Demo"')),
        "newline at the end": partial(judged, replaced(b'"subject":"demo"', b'"subject":"demo\\n"')),
        "range": partial(judged, replaced(b'"length":1015', b'"length":-1')),
        "above 2^53": partial(judged, replaced(b'"length":1015', b'"length":9007199254740993')),
        "huge": partial(judged, replaced(b'"length":1015', b'"length":' + b"9" * 300)),
        "beyond floating point": partial(judged, replaced(b'"length":1015', b'"length":1e400')),
        "float": partial(judged, replaced(b'"length":1015', b'"length":1015.0')),
        "bool": partial(judged, replaced(b'"length":1015', b'"length":true')),
        "null": partial(judged, replaced(b'"length":1015', b'"length":null')),
        "a role that is none": partial(judged, factory.encode([_with_role("snapshot")])[0]),
        "no root": partial(without_root, replaced(b'"length":1015', b'"length":-1')),
    },
    "not-first": {"again": partial(judged, OTHER_LEDGER), "no root": partial(without_root, OTHER_LEDGER)},
    "no-root": {
        "an upload": partial(without_root, UPLOAD),
        "a hold": partial(without_root, *factory.encode([Make().signing_held()])),
        "after a rejected ceremony": partial(
            without_root,
            *factory.encode([Make().roles_signed(factory.ceremony(Team())), Make().project_created("demo")]),
        ),
    },
    "repeated": {"a hold": partial(known_id, conflict=False)},
    "id-conflict": {"a hold": partial(known_id, conflict=True)},
}
SECTION_2: Scenarios = {"not-json": {"ill-formed UTF-8": SECTION_1["not-json"]["ill-formed UTF-8"]}}


@pytest.mark.parametrize(("number", "scenarios"), [(1, SECTION_1), (2, SECTION_2)])
def test_every_code_of_the_page_is_produced_and_no_other(number: int, scenarios: Scenarios) -> None:
    assert set(scenarios) == codes_of(number)


@pytest.mark.parametrize(("code", "scenario"), cases(SECTION_1))
def test_code(code: str, scenario: Scenario) -> None:
    check(code, scenario)


def test_what_the_scenarios_spoil_is_well_formed() -> None:
    assert encode_event(Make().file_uploaded("demo")) == UPLOAD
    assert not isinstance(decode_event(UPLOAD), Rejection)
