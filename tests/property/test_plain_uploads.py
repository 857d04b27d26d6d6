"""The short way to decode uploads: whatever it accepts, the long way accepts too, and reads the same from it."""

import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.log.operations import Upload, operation_of, project_key, upload_of
from schemas.codec import decode_event, encode_event
from schemas.events import MAX_EVENT_BYTES, FileUploaded, FileUploadedData, Hashes
from schemas.plain_uploads import PlainHashes, PlainUpload, PlainUploadData, decode_plain_upload
from tests.factory import Make, digest
from tests.fuzz.budget import examples
from tests.fuzz.mutating import dump, load, mutate

FULL = (
    Make()
    .having(actorcredential="token-1")
    .file_uploaded(
        "demo",
        filename="demo-1.0-py3-none-any.whl",
        requires_python='>=3.9, !="3.10"',
        core_metadata_sha256=digest("metadata"),
        provenance_sha256=digest("provenance"),
        legacy=True,
        commitments={"ip": digest("ip"), "agent": digest("agent")},
    )
)
PLAIN = [
    Make().file_uploaded("demo"),
    Make().having(actorcredential="token-1").file_uploaded("demo", requires_python=">=3.9"),
    Make().file_uploaded("demo", provenance_sha256=digest("provenance"), legacy=True),
    Make().file_uploaded("demo", commitments={"ip": digest("ip")}),
]
ESCAPED = encode_event(FULL)
UPLOADS = [encode_event(event) for event in PLAIN]
VALUE = UPLOADS[1]


def same_both_ways(value: bytes | None) -> bool:
    """Check that what the short way makes of a record is what the long way does; whether it made anything of it."""
    upload = decode_plain_upload(value)
    if upload is None:
        return False
    event = decode_event(value)
    assert isinstance(event, FileUploaded)
    operation = upload_of(upload)
    assert isinstance(operation, Upload)
    assert operation_of(event) == (project_key(upload.subject), operation)
    return True


@pytest.mark.parametrize("value", UPLOADS)
def test_usual_uploads_are_plain(value: bytes) -> None:
    assert same_both_ways(value)
    document = json.loads(value)
    assert same_both_ways(json.dumps(document, indent=2, sort_keys=True).encode())
    assert same_both_ways(json.dumps(dict(reversed(document.items()))).encode())


UNUSUAL = {"expects", "incident"}
"""Members that no plain upload has."""


def test_all_members_are_known_to_both_ways() -> None:
    for plain, kind in ((PlainUpload, FileUploaded), (PlainUploadData, FileUploadedData), (PlainHashes, Hashes)):
        names = {field.name: field.required for field in msgspec.structs.fields(plain)}
        names.pop("type", None)
        known = {field.name: field.required for field in msgspec.structs.fields(kind)}
        assert names == {name: required for name, required in known.items() if name not in UNUSUAL}


@given(st.sampled_from([*UPLOADS, ESCAPED]), st.randoms(use_true_random=False))
@settings(max_examples=examples(1000))
def test_nothing_is_read_from_a_record_that_the_long_way_does_not_read(value: bytes, rng: Random) -> None:
    same_both_ways(mutate(rng, value))


@given(st.sampled_from(UPLOADS), st.randoms(use_true_random=False))
@settings(max_examples=examples(300))
def test_how_an_upload_is_written_changes_nothing(value: bytes, rng: Random) -> None:
    same_both_ways(dump(load(value), rng))


def replaced(old: bytes, new: bytes) -> bytes:
    value: bytes = VALUE.replace(old, new)
    assert value != VALUE
    return value


def with_value(path: str, value: Any) -> bytes:
    document = json.loads(UPLOADS[0] if path == "data.provenance_sha256" else VALUE)
    *folders, name = path.split(".")
    member = document
    for folder in folders:
        member = member[folder]
    member[name] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "value",
    [
        ESCAPED,
        encode_event(Make().project_created("demo")),
        b"",
        b"{}",
        VALUE[:-1],
        VALUE + b"x",
        VALUE + b" " * MAX_EVENT_BYTES,
        replaced(b'"specversion"', b'"subject":"demo","specversion"'),  # a member stands twice
        replaced(b'"specversion"', b'"subject" :"demo","specversion"'),
        replaced(b'"type":"file.uploaded.v1"', b'"id":"a"'),  # and another one, which is as long, is not there
        replaced(b'"sha256"', b'"sha256":"' + b"0" * 64 + b'","sha256"'),
        replaced(b'"version"', b'"version":"2.0","version"'),
        replaced(b'"length":', b'"length":1,"length":'),
        replaced(b'"specversion"', b'"more":[[]],"specversion"'),
        with_value("incident", "incident-1"),
        with_value("data.expects", "0" * 64),
        with_value("actorcredential", None),
        with_value("actorcredential", ""),
        with_value("data.requires_python", ""),
        with_value("data.requires_python", ">=3\n"),
        with_value("data.requires_python", ">" * 513),
        with_value("data.provenance_sha256", ""),
        with_value("data.provenance_sha256", "0" * 63 + "A"),
        with_value("data.provenance_sha256", "0" * 63 + " "),
        with_value("data.provenance_sha256", "0" * 63),
        with_value("data.legacy", False),
        with_value("data.commitments", {}),
        with_value("data.commitments", {"ip": "0" * 63}),
        with_value("data.commitments", {"": "0" * 64}),
        with_value("data.commitments", {"a b": "0" * 64}),
        with_value("data.length", -1),
        with_value("data.length", 2**53 + 1),
        with_value("data.length", 1.0),
        with_value("data.version", "1" * 129),
        with_value("data.filename", "0" * 64 + ".a"),
        with_value("data.filename", "a" * 191),
        with_value("id", "1" * 129),
        with_value("id", "a b"),
        with_value("source", "/" * 257),
        with_value("subject", "a" * 201),
        with_value("subject", "a--b"),
        with_value("time", "2026-02-30T00:00:00Z"),
        with_value("time", "2026-02-03T24:00:00Z"),
        with_value("actorkind", "nobody"),
        with_value("specversion", "1.1"),
        with_value("type", "file.uploaded.v2"),
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(value: bytes) -> None:
    assert decode_plain_upload(value) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.requires_python", ">" * 512),
        ("data.version", "1" * 128),
        ("data.filename", "a" * 190),
        ("data.length", 2**53),
        ("data.commitments", {"i" * 128: "0" * 64}),
        ("id", "1" * 128),
        ("source", "/" * 256),
        ("subject", "a" * 200),
    ],
)
def test_what_is_as_long_as_may_be_is_plain(path: str, value: Any) -> None:
    assert same_both_ways(with_value(path, value))


def test_no_record_is_no_upload() -> None:
    assert decode_plain_upload(None) is None
