"""Bytes to records: garbage, form, and the one code that each fault has (docs/rules.md, sections 1, 2 and 7)."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import schemas
from schemas import canonical, codec, events, jsonschema
from schemas.codec import (
    EVENT_TYPES,
    Rejection,
    decode_event,
    decode_publication_record,
    encode_event,
    encode_record,
)
from schemas.fields import is_calendar_time
from schemas.publications import MAX_PUBLICATION_BYTES, Claim, Publication, Record, Seal
from tests import factory
from tests.factory import Make, Team, digest

EVENT_CODES = {"null", "oversize", "too-deep", "not-json", "duplicate-member", "unknown-type", "invalid"}
PUBLICATION_CODES = {"null", "oversize", "too-deep", "not-json", "invalid", "not-canonical"}

FILES = factory.ceremony(Team())
ONE_OF_EACH = Make().one_of_each(factory.file_digest(FILES["root"]), FILES)
YANKED = Make().file_yanked("demo", "demo-1.0.tar.gz", "REASON")


def code_of(value: bytes | None) -> str:
    """The code of a record's rejection, or an empty string."""
    decoded = decode_event(value)
    return decoded.code if isinstance(decoded, Rejection) else ""


def publication_code_of(value: bytes | None) -> str:
    decoded = decode_publication_record(value)
    return decoded.code if isinstance(decoded, Rejection) else ""


def with_reason(reason: bytes) -> bytes:
    """A yank whose reason has these bytes between its quotes."""
    return encode_event(YANKED).replace(b'"REASON"', b'"%s"' % reason)


def reason_of(value: bytes) -> str | None:
    decoded = decode_event(value)
    assert isinstance(decoded, events.FileYanked), decoded
    return decoded.data.reason


# --- never an exception ------------------------------------------------------------------------------------------

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
fragments = st.sampled_from(
    [
        *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"-", b" ", b"\n", b"\x00", b"\xff", b"\xef\xbb\xbf"),
        *(b"\\ud800", b"\\udc00", b"\xed\xa0\x80", b"1e9", b"NaN", b"9" * 400, b"null"),
        *(b'"type":"file.yanked.v1"', b'"id":'),
    ]
)


@st.composite
def spoilt_records(draw: st.DrawFn, values: list[bytes]) -> bytes:
    """A good record with some pieces cut out and others put in."""
    value = draw(st.sampled_from(values))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(value)))
        end = start + draw(st.integers(0, 8))
        piece = draw(
            st.one_of(fragments, st.binary(max_size=4), json_values.map(lambda each: json.dumps(each).encode()))
        )
        value = value[:start] + piece + value[end:]
    return value


GOOD_EVENTS = [encode_event(event) for event in ONE_OF_EACH]


@given(st.binary() | st.lists(fragments, max_size=60).map(b"".join) | spoilt_records(GOOD_EVENTS))
@example(b"")
@example(b"\xed\xa0\x80")
@example(b'"' + b"\\" * 60_000)
@example(b'{"type":' + b"9" * 5000 + b"}")
@example(b'{"a":1e400}')
@example(b"-" * 65_535)
def test_decoding_an_event_never_raises(value: bytes) -> None:
    decoded = decode_event(value)
    if isinstance(decoded, Rejection):
        assert decoded.code in EVENT_CODES
        return
    # What is accepted is JSON in which nothing stands twice, and of the type that it says.
    text = value.decode("utf-8", "surrogatepass")
    assert json.loads(text, object_pairs_hook=_distinct)["type"] == decoded.__struct_config__.tag
    assert type(decoded) in EVENT_TYPES.values()
    if not isinstance(decoded, events.RolesSigned):  # whose documents can hold numbers that our encoder does not write
        assert decode_event(encode_event(decoded)) == decoded


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@given(json_values)
def test_decoding_any_json_never_raises(value: Any) -> None:
    for text in (json.dumps(value), json.dumps({"type": "roles.signed.v1", "data": value})):
        assert code_of(text.encode("utf-8", "surrogatepass")) in EVENT_CODES
        assert publication_code_of(text.encode("utf-8", "surrogatepass")) in PUBLICATION_CODES


def _records() -> list[bytes]:
    claim = Claim(
        format=1,
        origin=factory.ORIGIN,
        number=7,
        previous=digest("previous"),
        time=factory.instant(0),
        size=3,
        root_hash=digest("root hash"),
        renew=("bin-0", "bin-1"),
    )
    published = Publication(
        format=1,
        number=7,
        claim=digest("claim"),
        roles=(("bin-0", "A" * 43 + "=", ("AAAA", "")),),
        snapshot=("A" * 43 + "=", 100, ("AAAA",)),
    )
    seal = (Seal(keyid=digest("key"), sig="00" * 64),)
    return [encode_record(Record(signatures=seal, signed=signed)) for signed in (claim, published)]


GOOD_RECORDS = _records()


@given(st.binary() | st.lists(fragments, max_size=60).map(b"".join) | spoilt_records(GOOD_RECORDS))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
def test_decoding_a_publication_record_never_raises(value: bytes) -> None:
    decoded = decode_publication_record(value)
    if isinstance(decoded, Rejection):
        assert decoded.code in PUBLICATION_CODES
    else:
        assert encode_record(decoded) == value


@pytest.mark.parametrize("value", GOOD_RECORDS)
def test_publication_records_return(value: bytes) -> None:
    decoded = decode_publication_record(value)
    assert isinstance(decoded, Record)
    assert encode_record(decoded) == value == canonical.encode(json.loads(value))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.__struct_config__.tag)
def test_events_return(event: events.BaseEvent) -> None:
    assert decode_event(encode_event(event)) == event


def test_there_is_one_of_each() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(EVENT_TYPES.values())


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.__struct_config__.tag)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), ("\n,\t", "\r: ")])
def test_the_form_does_not_matter(event: events.BaseEvent, separators: tuple[str, str]) -> None:
    document = json.loads(encode_event(event))
    backwards = dict(reversed(document.items()))
    for each in (document, backwards, {**document, "unknown": [1, {"a": None}], "dataschema": "x"}):
        assert decode_event(json.dumps(each, separators=separators).encode()) == event


def test_unknown_members_are_ignored_everywhere() -> None:
    document = json.loads(encode_event(Make().file_uploaded("demo")))
    document["data"]["unknown"] = document["data"]["hashes"]["md5"] = {"deep": [1e300, -0.0, 2**70]}
    assert decode_event(json.dumps(document).encode()) == Make().file_uploaded("demo")


# --- limits ------------------------------------------------------------------------------------------------------


def test_65535_bytes_are_allowed() -> None:
    value = encode_event(YANKED)
    assert code_of(value + b" " * (65_535 - len(value))) == ""
    assert code_of(value + b" " * (65_536 - len(value))) == "oversize"


def test_32_levels_are_allowed() -> None:
    def nested(depth: int) -> bytes:
        return encode_event(YANKED).replace(
            b'"data":{', b'"data":{"x":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b","
        )

    assert code_of(nested(32)) == ""
    assert code_of(nested(33)) == "too-deep"


@pytest.mark.parametrize(
    "text", [b"[" * 100, b"{" * 100, b'\\"' + b"[{" * 50, b"\\\\" + b"[" * 100, b"]}" * 50 + b"[" * 60]
)
def test_brackets_in_strings_are_no_nesting(text: bytes) -> None:
    assert code_of(with_reason(text)) == ""


def open_at_once(value: bytes) -> int:
    """The most brackets outside of strings that are open at once, counted one by one."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in value:
        if in_string:
            in_string = escaped or byte != ord('"')
            escaped = byte == ord("\\") and not escaped
        elif byte == ord('"'):
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth = max(0, depth - 1)
    return deepest


@given(st.lists(st.sampled_from(list(b'[[[{]}"\\,')), max_size=60).map(bytes))
@example(b"[" * 9)
@example(b"]" * 9 + b"{" * 9)
@example(b"[[]" * 9)
@example(b'["' + b"[" * 9)
@example(b'["\\"' + b"[" * 9)
@example(b"[" * 8 + b"]" * 9 + b"[" * 8)
def test_levels_are_brackets_that_are_open_at_once(value: bytes) -> None:
    assert (publication_code_of(value) == "too-deep") == (open_at_once(value) > 8)


def test_16_mib_of_publication_are_allowed() -> None:
    value = GOOD_RECORDS[0]
    padded = value + b" " * (MAX_PUBLICATION_BYTES - len(value))
    assert publication_code_of(padded) == "not-canonical"
    assert publication_code_of(padded + b" ") == "oversize"


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 65_535,
        b"[]" * 32_767,
        b'["' + b"\\" * 65_000,
        b'[["' + b'\\"' * 32_000,
        b'["' + b"\\\\" * 32_000,
        b'"' * 65_535,
        b'"\\' * 32_767,
        b"{" + b'"":0,' * 13_000,
        b"{" + b",".join(b'"%x":0' % number for number in range(8_000)) + b"}",
        b'"' + b"\\ud800" * 10_000 + b'"',
        b'"' + b"\\ud800\\udc00" * 5_000 + b'"',
        b'"' + b"\xed\xa0\x80" * 20_000 + b'"',
        b'{"type":"x","a":"' + b"-" * 65_000 + b'"}',
        b"9" * 65_535,
        b"0." + b"0" * 65_000 + b"1",
        b"1e" + b"9" * 65_000,
        b" " * 65_535,
        b"[]" * 40 + b'"\\' * 32_000,
        b"[]" * 40 + b'"' * 65_000,
    ],
    ids=lambda value: repr(value[:12]),
)
def test_adversarial_input_of_the_greatest_size_is_decoded(value: bytes) -> None:
    assert code_of(value) in EVENT_CODES
    assert publication_code_of(value * 16) in PUBLICATION_CODES


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("target.added.v1", "subject"),
        ("project.created.v1", "subject"),
        ("file.uploaded.v1", "subject"),
        ("access.granted.v1", "id"),
        ("file.yanked.v1", "time"),
    ],
)
@pytest.mark.parametrize("text", ["a", "a/", "a-", "a ", "a.", "0", "é", "a-/", "/"])
def test_no_pattern_backtracks_without_end(kind: str, field: str, text: str) -> None:
    event = next(event for event in ONE_OF_EACH if event.__struct_config__.tag == kind)
    document = json.loads(encode_event(event))
    document[field] = (text * 60_000)[:60_000] + "\n"
    assert code_of(json.dumps(document, ensure_ascii=False).encode()[:65_535]) in {"invalid", "not-json"}
    document[field] = (text * 500)[:500] + "!"
    assert code_of(json.dumps(document, ensure_ascii=False).encode()) in {"invalid", ""}


@pytest.mark.parametrize("piece", [b'"\\', b"\\", b'"', b'\\"', b'"a', b"\xff"])
def test_a_megabyte_of_garbage_is_looked_at_once(piece: bytes) -> None:
    """With a quadratic search for nesting this would not end."""
    assert publication_code_of(b"[]" * 40 + piece * (2**20 // len(piece))) in PUBLICATION_CODES


class Counted(str):
    """A text that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def test_finding_a_member_that_stands_twice_is_not_quadratic() -> None:
    pairs = [(Counted(f"{number:x}"), None) for number in range(2_000)]
    Counted.comparisons = 0
    with pytest.raises(codec.DuplicateMemberError):
        codec._distinct([*pairs, (Counted(pairs[-1][0]), None)])
    assert Counted.comparisons <= 100 * len(pairs)


# --- surrogates and control characters ---------------------------------------------------------------------------

any_text = st.text(st.characters(codec=None, categories=["Cs", "Cc", "Lu", "So", "Zs"]) | st.sampled_from('\\"ud8dc0'))


def _replaced(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


@given(any_text)
@example("\\ud800")
@example("\\\ud800")
@example("\ud800\ud800\udc00")
@example("\ud83d\\ude00")
def test_lone_surrogates_in_escapes_become_the_replacement_character(text: str) -> None:
    escaped = json.dumps(text)
    expected = _replaced(json.loads(escaped))  # pairs of escapes become one character
    assert reason_of(with_reason(escaped[1:-1].encode())) == expected
    for variant in (escaped.replace("\\ud", "\\uD"), _upper_escapes(escaped)):
        assert reason_of(with_reason(variant[1:-1].encode())) == _replaced(json.loads(variant))


def _upper_escapes(text: str) -> str:
    return text.replace("\\ud8", "\\uD8").replace("\\udc", "\\uDC").replace("\\udf", "\\uDF")


@given(any_text)
def test_lone_surrogates_in_bytes_become_the_replacement_character(text: str) -> None:
    raw = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert reason_of(with_reason(raw[1:-1])) == _replaced(text)


@pytest.mark.parametrize("code", range(0xD800, 0xE000, 37))
def test_each_lone_surrogate(code: int) -> None:
    for value in (b"\\u%04x" % code, b"\\u%04X" % code, chr(code).encode("utf-8", "surrogatepass")):
        assert reason_of(with_reason(b"a" + value + b"b")) == "a\ufffdb"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"\\\\ud800", "\\ud800"),
        (b"\\\\\\ud800", "\\\ufffd"),
        (b"\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        (b"\\ude00\\ud83d", "\ufffd\ufffd"),
        (b"\\ud83d\xed\xb8\x80", "\ufffd\ufffd"),
        (b"\xed\xa0\xbd\xed\xb8\x80", "\ufffd\ufffd"),
        (b"\\ud83d\\u0041", "\ufffdA"),
        (b"\\ud83d\\n", "\ufffd\n"),
        (b"\xed\x9f\xbf\xee\x80\x80", "\ud7ff\ue000"),
    ],
)
def test_surrogates(reason: bytes, expected: str) -> None:
    assert reason_of(with_reason(reason)) == expected


@pytest.mark.parametrize(
    "reason", [b"\xff", b"\xc0\x80", b"\xed\xa0", b"\xed", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"]
)
def test_other_ill_formed_utf_8_is_no_json(reason: bytes) -> None:
    assert code_of(with_reason(reason)) == "not-json"


@pytest.mark.parametrize("reason", [b"\\u0000", b"\\n", b"\\u001f", b"\\u007f", b"\x7f", b"\xc2\x80", b"\xef\xbf\xbe"])
def test_control_characters_do_not_reject(reason: bytes) -> None:
    assert code_of(with_reason(reason)) == ""


@pytest.mark.parametrize("reason", [b"\x00", b"\n", b"\x1f"])
def test_raw_control_characters_are_no_json(reason: bytes) -> None:
    assert code_of(with_reason(reason)) == "not-json"


# --- which code, if several would do -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"[" * 70_000, "oversize"),
        (b"[" * 40 + b"\xff", "too-deep"),
        (b'{"a":1,"a":1}', "duplicate-member"),
        (b'{"a":1,"a":1,\xff}', "not-json"),
        (b'{"type":"x","type":"y"}', "duplicate-member"),
        (b'{"type":"x","id":5}', "unknown-type"),
    ],
)
def test_the_first_check_that_fails_gives_the_code(value: bytes, code: str) -> None:
    assert code_of(value) == code


@pytest.mark.parametrize(
    "value", [b"{}", b'{"type":5}', b'{"type":null}', b'{"type":["x"]}', b"[]", b'"x"', b"5", b"null"]
)
def test_a_record_without_a_type_that_is_known_is_of_an_unknown_type(value: bytes) -> None:
    assert code_of(value) == "unknown-type"


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_nan_is_no_json_whatever_the_type(number: bytes) -> None:
    assert code_of(b'{"type":"nope","x":%s}' % number) == "not-json"


NUMBERS = [b"1e999", b"-1e400", b"1e-400", b"9" * 300, b"-" + b"9" * 299, b"0." + b"0" * 298, b"1e" + b"0" * 297 + b"1"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("value", [b'{"type":"nope","x":%s}', b'{"x":[%s],"type":"nope"}'])
def test_a_type_is_unknown_whatever_numbers_are_beside_it(number: bytes, value: bytes) -> None:
    assert code_of(value % number) == "unknown-type"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_of_an_unknown_member_does_not_matter(number: bytes) -> None:
    assert code_of(encode_event(YANKED).replace(b'"data":{', b'"x":%s,"data":{"y":%s,' % (number, number))) == ""


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("value", [b'{"type":"nope","x":%s}', b'{"signed":{"x":%s}}', b"[%s]"])
def test_a_number_of_more_than_300_characters_is_no_json(number: bytes, value: bytes) -> None:
    """Parsers differ in the longest number that they read, and some by a setting."""
    longer = number[:-1] + b"0" * (301 - len(number)) + number[-1:]
    assert len(longer) == 301
    assert code_of(value % longer) == publication_code_of(value % longer) == "not-json"


def _number_in_root(number: bytes) -> bytes:
    event = encode_event(Make().roles_signed({"root": {"signatures": [], "signed": {"x": "NUMBER"}}}))
    return event.replace(b'"NUMBER"', number)


@pytest.mark.parametrize("digits", [300, 301, 1_000, 5_000])
def test_the_code_does_not_depend_on_settings_of_the_interpreter(digits: int) -> None:
    """PYTHONINTMAXSTRDIGITS and `sys.set_int_max_str_digits` limit the integers that Python reads."""
    before = sys.get_int_max_str_digits()
    codes = set()
    try:
        for limit in (640, 4_300, 0):
            sys.set_int_max_str_digits(limit)
            codes.add(code_of(_number_in_root(b"9" * digits)))
    finally:
        sys.set_int_max_str_digits(before)
    assert codes == {"not-json" if digits > 300 else ""}


@pytest.mark.parametrize("number", NUMBERS)
def test_which_numbers_a_document_may_hold_is_not_a_matter_of_form(number: bytes) -> None:
    """`roles-malformed` is for whoever reads the document; and no limit of floating point is one of ours."""
    assert code_of(_number_in_root(number)) == ""


@pytest.mark.parametrize("depth", [9, 500])
def test_a_publication_record_with_a_deep_unknown_member_is_too_deep(depth: int) -> None:
    value = GOOD_RECORDS[0][:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    assert publication_code_of(value) == "too-deep"


@pytest.mark.parametrize("value", [b'{"signatures":5,garbage', b'{"signed":[],\xff}', b'[],"'])
def test_a_publication_record_that_is_no_json_is_no_json_whatever_stands_before(value: bytes) -> None:
    assert publication_code_of(value) == "not-json"


# --- fields ------------------------------------------------------------------------------------------------------


def accepts(kind: str, path: tuple[str, ...], value: Any) -> bool:
    """Whether a field of an event may have this value."""
    event = next(event for event in ONE_OF_EACH if event.__struct_config__.tag == kind)
    document = json.loads(encode_event(event))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    code = code_of(json.dumps(document).encode())
    assert code in {"", "invalid"}
    return not code


PATHS_ALLOWED = [
    "a",
    "a/b/c/d/e/f/g/h",
    "tools/demo 1.0.txt",
    "x" * 190,
    "/".join(["x" * 63] * 8),
    "A~{}[]|^`@;:,=+&'()*!$<>_-",
    "a..b/c.",
    digest("x") + "x",
    digest("x")[:63] + ".x",
    digest("x").upper() + ".x",
    digest("x"),
]
PATHS_REFUSED = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/./b",
    "a/../b",
    ".a",
    "a/.b",
    " a",
    "a ",
    "a /b",
    "a/ b",
    "a%20b",
    "a?b",
    "a#b",
    "a\\b",
    'a"b',
    "a\tb",
    "a\n",
    "a\x7fb",
    "é",
    "a/b/c/d/e/f/g/h/i",
    "x" * 191,
    "/".join(["x" * 100] * 6),
    digest("x") + ".x",
    "a/" + digest("x") + ".x",
    digest("x") + ".",
]


@pytest.mark.parametrize("path", PATHS_ALLOWED)
def test_target_paths_that_are_allowed(path: str) -> None:
    assert accepts("target.added.v1", ("subject",), path)


@pytest.mark.parametrize("path", PATHS_REFUSED)
def test_target_paths_that_are_refused(path: str) -> None:
    assert not accepts("target.added.v1", ("subject",), path)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a1-2b", "x" * 200])
def test_project_names_that_are_allowed(name: str) -> None:
    assert accepts("project.created.v1", ("subject",), name)


@pytest.mark.parametrize(
    "name",
    ["", "A", "-a", "a-", "a--b", "a_b", "a.b", "a b", "a/b", "é", "a\n", "x" * 201, "..", "\u0130", "\u0661", 5],
)
def test_project_names_that_are_refused(name: object) -> None:
    assert not accepts("project.created.v1", ("subject",), name)


@pytest.mark.parametrize("name", ["a", "_a-1.0+l!.tar.gz", "0", "x" * 190, "a b", "-a", "a('<b>')&~,=@.exe"])
def test_filenames_that_are_allowed(name: str) -> None:
    assert accepts("file.uploaded.v1", ("data", "filename"), name)


@pytest.mark.parametrize(
    "name", ["", ".a", "a ", " a", "a/b", "a\\b", "a%b", "a?b", "a#b", 'a"b', "é", "x" * 191, "a\n", "a\x00"]
)
def test_filenames_that_are_refused(name: str) -> None:
    assert not accepts("file.uploaded.v1", ("data", "filename"), name)


@pytest.mark.parametrize(
    "text", ["", "x" * 63, "x" * 64, "A" * 64, "0" * 65, "0" * 64 + "\n", "\uff10" * 64, "\u0660" * 64]
)
def test_digests_that_are_refused(text: str) -> None:
    for path in (("data", "hashes", "sha256"), ("data", "hashes", "blake2b_256"), ("data", "core_metadata_sha256")):
        assert not accepts("file.uploaded.v1", path, text)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "é", "x" * 129, "\x7f", "a\u200b"])
def test_identifiers_that_are_refused(text: str) -> None:
    for path in (("id",), ("actorid",), ("actorcredential",)):
        assert not accepts("file.yanked.v1", path, text)


def test_a_filename_does_not_look_like_the_consistent_snapshot_name_of_another() -> None:
    assert not accepts("file.uploaded.v1", ("data", "filename"), f"{digest('bytes of the victim')}.demo-1.0.tar.gz")


TIMES_ALLOWED = ["2000-02-29T00:00:00Z", "2999-12-31T23:59:59.999999Z", "2030-01-01T00:00:00.0Z"]
TIMES_REFUSED = [
    "1999-12-31T23:59:59Z",
    "3000-01-01T00:00:00Z",
    "2100-02-29T00:00:00Z",
    "2030-04-31T00:00:00Z",
    "2030-00-01T00:00:00Z",
    "2030-01-32T00:00:00Z",
    "2030-01-01T24:00:00Z",
    "2030-01-01T00:60:00Z",
    "2030-01-01T00:00:60Z",
    "2030-01-01t00:00:00z",
    "2030-01-01 00:00:00Z",
    "2030-01-01T00:00:00",
    "2030-01-01T00:00:00.Z",
    "2030-01-01T00:00:00,5Z",
    "2030-01-01T00:00Z",
    "2030-W01-1T00:00:00Z",
    "20300101T000000Z",
    "2030-01-01T00:00:00Z\n",
    "\u0662030-01-01T00:00:00Z",
    "-2030-01-01T00:00:00Z",
    1893456000,
    None,
]


@pytest.mark.parametrize("time", TIMES_ALLOWED)
def test_times_that_are_allowed(time: str) -> None:
    assert accepts("file.yanked.v1", ("time",), time)


@pytest.mark.parametrize("time", TIMES_REFUSED)
def test_times_that_are_refused(time: object) -> None:
    assert not accepts("file.yanked.v1", ("time",), time)


@given(st.integers(2000, 2999), st.integers(0, 14), st.integers(0, 33))
def test_dates_are_those_of_the_calendar(year: int, month: int, day: int) -> None:
    text = f"{year}-{month:02}-{day:02}T00:00:00Z"
    try:
        datetime(year, month, day)  # noqa: DTZ001  # of no time zone: a date is a date
        exists = True
    except ValueError:
        exists = False
    assert is_calendar_time(text) == exists == accepts("file.yanked.v1", ("time",), text)


@pytest.mark.parametrize("value", [0, 1, 2**53])
def test_lengths_that_are_allowed(value: int) -> None:
    assert accepts("file.uploaded.v1", ("data", "length"), value)


@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**64, 10**299, 1.0, 1e3, "1", True, None, [1], {}])
def test_lengths_that_are_refused(value: object) -> None:
    assert not accepts("file.uploaded.v1", ("data", "length"), value)


@pytest.mark.parametrize("field", sorted({"specversion", "id", "source", "subject", "time", "actorkind", "actorid"}))
@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.__struct_config__.tag)
def test_every_attribute_is_needed_and_a_string(event: events.BaseEvent, field: str) -> None:
    document = json.loads(encode_event(event))
    for spoilt in (
        {**document, field: 5},
        {**document, field: None},
        {k: v for k, v in document.items() if k != field},
    ):
        assert code_of(json.dumps(spoilt).encode()) == "invalid"


@pytest.mark.parametrize("record", range(2))
def test_a_publication_record_of_another_format_is_refused(record: int) -> None:
    document = json.loads(GOOD_RECORDS[record])
    for value in (2, 0, "1", None):
        document["signed"]["format"] = value
        assert publication_code_of(canonical.encode(document)) == "invalid"


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (0, "time", "2030-02-30T00:00:00Z"),
        (0, "time", "2030-01-01T00:00:00.5Z"),
        (0, "number", 0),
        (0, "number", 2**53 + 1),
        (0, "size", -1),
        (0, "type", "other"),
        (0, "origin", ""),
        (0, "previous", "A" * 64),
        (1, "claim", None),
        (1, "snapshot", ["A" * 43 + "=", 100]),
        (1, "snapshot", ["A" * 43 + "=", -1, [""]]),
        (1, "snapshot", ["A" * 44, 1, [""]]),
        (1, "roles", [["bin-0", "A" * 43 + "="]]),
        (1, "roles", [["bin 0", "A" * 43 + "=", [""]]]),
        (1, "roles", [["bin-0", "A" * 43 + "=", ["A" * 2733]]]),
        (1, "roles", {}),
    ],
)
def test_publication_fields_that_are_refused(record: int, field: str, value: object) -> None:
    document = json.loads(GOOD_RECORDS[record])
    document["signed"][field] = value
    assert publication_code_of(canonical.encode(document)) == "invalid"


@pytest.mark.parametrize("sig", ["", "0", "AA", "0g", "00\n", "00" * 2049])
def test_seals_that_are_refused(sig: str) -> None:
    document = json.loads(GOOD_RECORDS[0])
    document["signatures"][0]["sig"] = sig
    assert publication_code_of(canonical.encode(document)) == "invalid"


# --- canonical JSON and JSON Schemas -----------------------------------------------------------------------------


@given(json_values)
def test_canonical_json_is_the_standard_librarys_with_sorted_members(value: Any) -> None:
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        return
    try:
        encoded = canonical.encode(value)
    except TypeError:  # integers above 64 bits
        return
    assert json.loads(encoded) == json.loads(text)
    if "\x7f" not in text and not _has_float(value):
        assert encoded == text.encode()


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    return isinstance(value, float) or (isinstance(value, list) and any(map(_has_float, value)))


def test_the_json_schemas_are_not_stale() -> None:
    folder = Path(schemas.__file__).parent / "json"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")} == {
        name: jsonschema.render(document) for name, document in jsonschema.generate().items()
    }


def test_every_type_of_event_says_what_it_is() -> None:
    for name, kind in EVENT_TYPES.items():
        assert name.endswith(".v1")
        assert kind.__doc__ is not None
