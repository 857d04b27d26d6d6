"""`ledger.distributions.zips`: zips that no writer makes by accident, made byte by byte.

Each has one part that contradicts another; for everything else it is a source distribution that is read.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ledger.distributions.distribution import read_distribution
from tests.distributions import build_metadata
from tests.unit.refusals import peak_of, refusal

MIB = 1024 * 1024
DESCRIPTOR, UTF8 = 0x8, 0x800
FULL = 0xFFFFFFFF


class Part(NamedTuple):
    """A member: what stands in the zip, and what the list at the end says of it."""

    stands: bytes
    listed: Mapping[str, Any]


def part(
    name: bytes,
    content: bytes = b"x",
    *,
    raw: bytes | None = None,
    behind: bytes = b"",
    front: Mapping[str, Any] | None = None,
    listed: Mapping[str, Any] | None = None,
) -> Part:
    """A member, stored, or compressed as `raw`; `front` and `listed` are what its two headers say instead."""
    data = content if raw is None else raw
    told = {
        "flags": 0,
        "method": zipfile.ZIP_STORED if raw is None else zipfile.ZIP_DEFLATED,
        "crc": zlib.crc32(content),
        "compressed": len(data),
        "length": len(content),
        "name": name,
        "extra": b"",
    }
    says = {"signature": b"PK\3\4", **told, **(front or {})}
    numbers = (says[each] for each in ("crc", "compressed", "length"))
    header = struct.pack("<4s5H", says["signature"], 20, says["flags"], says["method"], 0, 33)
    header += struct.pack("<3L2H", *numbers, len(says["name"]), len(says["extra"]))
    return Part(header + says["name"] + says["extra"] + data + behind, {**told, **(listed or {})})


def entry(told: Mapping[str, Any], offset: int) -> bytes:
    """The entry of a member in the list."""
    says = {"signature": b"PK\1\2", "system": 3, "disk": 0, "attributes": 0, "comment": 0, "offset": offset, **told}
    fields = (says[each] for each in ("crc", "compressed", "length"))
    head = struct.pack("<4s6H", says["signature"], 20 | says["system"] << 8, 20, says["flags"], says["method"], 0, 33)
    head += struct.pack(
        "<3L3H", *fields, len(says["name"]), says.get("extra_length", len(says["extra"])), says["comment"]
    )
    head += struct.pack("<2H2L", says["disk"], 0, says["attributes"], says["offset"])
    return bytes(head + says["name"] + says["extra"])


def end_of(told: Mapping[str, int]) -> bytes:
    """The end of a zip, as far as it is not all noughts."""
    fields = (told.get(each, 0) for each in ("disk", "start_disk", "here", "count", "size", "start", "comment"))
    return struct.pack("<4s4H2LH", b"PK\5\6", *fields)


def end_64_of(about: Mapping[str, Any]) -> bytes:
    """The Zip64 end and what leads to it, to be put before the end."""
    told = {"signature": b"PK\6\6", "length": 44, "disk": 0, "start_disk": 0}
    told |= {"offset": about["start"] + about["size"], **about}
    fields = (told[each] for each in ("disk", "start_disk", "here", "count", "size", "start"))
    end = struct.pack("<4sQ2H2L4Q", told["signature"], told["length"], 45, 45, *fields)
    return end + struct.pack("<4sLQL", b"PK\6\7", 0, told["offset"], 1)


OWN = part(b"a-1/PKG-INFO", build_metadata("a", "1"))


def write(
    folder: Path,
    *parts: Part,
    own: Part = OWN,
    end_64: Mapping[str, Any] | None = None,
    end: Mapping[str, int] | None = None,
) -> Path:
    """A source distribution with these members besides its own; the rest is what its ends say instead."""
    parts = (own, *parts)
    data, listed = b"", b""
    for each in parts:
        listed += entry(each.listed, len(data))
        data += each.stands
    about = {"here": len(parts), "count": len(parts), "size": len(listed), "start": len(data)}
    middle = b"" if end_64 is None else end_64_of({**about, **end_64})
    path = folder / "a-1.zip"
    path.write_bytes(data + listed + middle + end_of({**about, **(end or {})}))
    return path


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(content) + packer.flush()


CONTENT = b"some content " * 10


def test_a_zip_made_here_is_read(tmp_path: Path) -> None:
    parts = (part(b"a-1/x", b""), part(b"a-1/y/", b""), part(b"a-1/z", CONTENT, raw=deflate(CONTENT)))
    ends: tuple[Mapping[str, Any] | None, ...] = (None, {})
    for end_64 in ends:
        path = write(tmp_path, *parts, end_64=end_64)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        assert read_distribution(path).project == "a"


# --- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_a_number_of_members_that_is_said_twice_and_wrong_is_refused(tmp_path: Path, count: int) -> None:
    path = write(tmp_path, part(b"a-1/x"), end={"here": count, "count": count})
    assert f"lists 2 members, but says that it has {count}" in refusal(path)


@pytest.mark.parametrize("field", ["disk", "start_disk"])
def test_a_part_of_several_disks_is_refused(tmp_path: Path, field: str) -> None:
    assert "other bytes than members before its end" in refusal(write(tmp_path, end={field: 1}))


def test_two_ends_of_which_the_second_has_no_signature_are_refused(tmp_path: Path) -> None:
    """Who looks for a signature finds the first; who reads what stands last sees another list, of the same length."""
    listed = entry({**OWN.listed, "comment": 22}, 0)  # the comment would be the first end
    about = {"here": 1, "count": 1, "start": len(OWN.stands)}
    first = end_of({**about, "size": len(listed), "comment": 22})
    second = b"XXXX" + end_of({**about, "size": len(listed) + 22})[4:]
    path = tmp_path / "a-1.zip"
    path.write_bytes(OWN.stands + listed + first + second)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a-1/PKG-INFO"]
    assert "a comment or other bytes after its end" in refusal(path)


@pytest.mark.parametrize(
    "says",
    [
        {"signature": b"PK\6\5"},
        {"length": 45},
        {"offset": 0},
        {"here": 1},
        {"disk": 1},
        {"start_disk": 1},
        {"count": 3, "here": 3},
    ],
    ids="-".join,
)
def test_a_zip64_end_that_says_something_else_is_refused(tmp_path: Path, says: Mapping[str, Any]) -> None:
    message = refusal(write(tmp_path, part(b"a-1/x"), end_64=says))
    assert re.search("two ends that contradict each other|Bad magic number", message)


# --- the list ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ({"disk": 1}, "its list of members cannot be read"),
        ({"comment": 5}, "its list of members cannot be read"),
        ({"extra_length": 5}, "its list of members cannot be read"),
        ({"extra": struct.pack("<HH", 0x5455, 9) + b"x"}, "its extra fields cannot be read|Corrupt extra field"),
        ({"offset": 10**6}, "bytes before the member"),
    ],
    ids=lambda each: "" if isinstance(each, str) else "-".join(each),
)
def test_an_entry_that_leads_elsewhere_is_refused(tmp_path: Path, listed: Mapping[str, Any], why: str) -> None:
    assert re.search(why, refusal(write(tmp_path, part(b"a-1/x", listed=listed))))


def test_a_member_inside_another_is_refused(tmp_path: Path) -> None:
    """A stored member holds a whole one. Who goes by the list sees two, who reads from the front one."""
    inner = part(b"a-1/setup.py", b"evil")
    outer = part(b"a-1/data", b"some bytes" + inner.stands)
    offset = len(OWN.stands) + len(outer.stands) - len(inner.stands)
    path = write(tmp_path, outer, Part(b"", {**inner.listed, "offset": offset}))
    assert "the member 'a-1/setup.py' overlaps what stands before" in refusal(path)


# --- the front of a member ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [b"PK\3\5", b"PK\1\2", bytes(4)])
def test_a_member_without_a_signature_is_refused(tmp_path: Path, signature: bytes) -> None:
    path = write(tmp_path, part(b"a-1/x", front={"signature": signature}))
    assert "'a-1/x', that installers would read differently: no header stands before it" in refusal(path)


@pytest.mark.parametrize("flag", [DESCRIPTOR, UTF8])
@pytest.mark.parametrize("where", ["front", "listed"])
def test_a_flag_that_one_header_has_is_refused(tmp_path: Path, flag: int, where: str) -> None:
    """The lengths stand behind the member for one reader only; or it has a name in another encoding."""
    says: dict[str, Any] = {where: {"flags": flag}}
    behind = descriptor(b"PK\7\x08", "LL", b"x") if flag == DESCRIPTOR and where == "listed" else b""
    path = write(tmp_path, part(b"a-1/x", behind=behind, **says))
    assert "what stands before it is not what the list of members says" in refusal(path)


@pytest.mark.parametrize("flag", [0x1, 0x20, 0x40, 0x2000])
def test_a_member_that_is_encrypted_or_patched_is_refused(tmp_path: Path, flag: int) -> None:
    says = {"flags": flag}
    assert "encrypted or patched member, 'a-1/x'" in refusal(write(tmp_path, part(b"a-1/x", front=says, listed=says)))


def test_a_name_in_utf8_that_is_not_marked_is_refused(tmp_path: Path) -> None:
    assert "its name may also be read as" in refusal(write(tmp_path, part("a-1/ä".encode())))
    marked = {"flags": UTF8}
    assert "can't decode" in refusal(write(tmp_path, part(b"a-1/\xe4", front=marked, listed=marked)))
    assert read_distribution(write(tmp_path, part("a-1/ä".encode(), front=marked, listed=marked))).project == "a"


@pytest.mark.parametrize("system", [0, 3, 10])
def test_a_link_is_refused_whatever_system_it_is_from(tmp_path: Path, system: int) -> None:
    """Some readers look at the mode alone."""
    path = write(tmp_path, part(b"a-1/x", b"/etc/passwd", listed={"system": system, "attributes": 0o120777 << 16}))
    assert "it is neither a plain file nor a folder" in refusal(path)


def test_a_folder_with_contents_is_refused(tmp_path: Path) -> None:
    assert "it is neither a plain file nor a folder" in refusal(write(tmp_path, part(b"a-1/x/")))


def test_a_folder_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "it is there twice" in refusal(write(tmp_path, part(b"a-1/x/", b""), part(b"a-1/x/", b"")))


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path: Path) -> None:
    both = (part(b"a-1/x"), part(b"a-1/x/", b""))
    for parts in (both, reversed(both)):
        assert "'a-1/x', that installers would read differently: it is a file and a folder" in refusal(
            write(tmp_path, *parts)
        )


# --- Zip64 -------------------------------------------------------------------------------------------------------

LENGTHS = struct.pack("<HHQQ", 1, 16, len(CONTENT), len(CONTENT))
FULL_LENGTHS = {"compressed": FULL, "length": FULL}


def test_lengths_in_an_extra_field_are_read(tmp_path: Path) -> None:
    for says in (
        {"extra": LENGTHS, **FULL_LENGTHS},
        {"extra": LENGTHS[:2] + b"\x08\0" + LENGTHS[4:12], "length": FULL},
    ):
        assert read_distribution(write(tmp_path, part(b"a-1/x", CONTENT, front=says, listed=says))).project == "a"


@pytest.mark.parametrize("where", ["front", "listed"])
@pytest.mark.parametrize("extra", [LENGTHS * 2, LENGTHS + LENGTHS.replace(b"\x82", b"\x01")])
def test_two_extra_fields_with_lengths_are_refused(tmp_path: Path, where: str, extra: bytes) -> None:
    """Some take the first, some the last."""
    says: dict[str, Any] = {"front": {"extra": LENGTHS, **FULL_LENGTHS}, "listed": {"extra": LENGTHS, **FULL_LENGTHS}}
    says[where] = {**FULL_LENGTHS, "extra": extra}
    assert "its extra fields cannot be read" in refusal(write(tmp_path, part(b"a-1/x", CONTENT, **says)))


@pytest.mark.parametrize(
    "extra", [b"", LENGTHS[:2] + b"\x08\0" + LENGTHS[4:12], LENGTHS[:2] + b"\x0f\0" + LENGTHS[4:19]]
)
def test_a_length_that_is_missing_is_refused(tmp_path: Path, extra: bytes) -> None:
    listed = {"extra": LENGTHS, **FULL_LENGTHS}
    path = write(tmp_path, part(b"a-1/x", CONTENT, front={"extra": extra, **FULL_LENGTHS}, listed=listed))
    assert "its length is missing" in refusal(path)


@pytest.mark.parametrize("kind", [0x7075, 0x5455])
def test_extra_fields_in_front_are_looked_at(tmp_path: Path, kind: int) -> None:
    """A second name; or a field that is longer than what is there."""
    extra = struct.pack("<HH", kind, 5) + (b"\x01abcd" if kind == 0x7075 else b"\x01")
    why = "a second name stands in its extra fields" if kind == 0x7075 else "its extra fields cannot be read"
    assert why in refusal(write(tmp_path, part(b"a-1/x", front={"extra": extra})))


# --- what follows a member ---------------------------------------------------------------------------------------


def descriptor(signature: bytes, sizes: str, content: bytes, raw: bytes | None = None) -> bytes:
    compressed = len(content if raw is None else raw)
    return signature + struct.pack(f"<L{sizes}", zlib.crc32(content), compressed, len(content))


@pytest.mark.parametrize("sizes", ["LL", "QQ"])
@pytest.mark.parametrize("signature", [b"PK\7\x08", b""])
@pytest.mark.parametrize("content", [CONTENT, b""])
def test_lengths_behind_a_member_are_read_in_every_form(
    tmp_path: Path, sizes: str, signature: bytes, content: bytes
) -> None:
    for raw in (None, deflate(content)):
        behind = descriptor(signature, sizes, content, raw)
        front = {"flags": DESCRIPTOR, "crc": 0, "compressed": 0, "length": 0}
        member = part(b"a-1/x", content, raw=raw, behind=behind, front=front, listed={"flags": DESCRIPTOR})
        assert read_distribution(write(tmp_path, member, part(b"a-1/y"))).project == "a"


@pytest.mark.parametrize("field", ["crc", "compressed", "length"])
def test_a_front_that_says_something_else_than_what_follows_is_refused(tmp_path: Path, field: str) -> None:
    front = {"flags": DESCRIPTOR, "crc": 0, "compressed": 0, "length": 0, field: 7}
    behind = descriptor(b"PK\7\x08", "LL", CONTENT)
    path = write(tmp_path, part(b"a-1/x", CONTENT, behind=behind, front=front, listed={"flags": DESCRIPTOR}))
    assert "what stands before it is not what the list of members says" in refusal(path)


# --- contents ----------------------------------------------------------------------------------------------------


def lying(content: bytes, raw: bytes | None, length: int, name: bytes = b"a-1/x") -> Part:
    """A member of which both headers say the same wrong length."""
    says = {"length": length}
    return part(name, content, raw=raw, front=says, listed=says)


@pytest.mark.parametrize("raw", [None, deflate(CONTENT)])
def test_a_member_longer_than_it_says_is_refused(tmp_path: Path, raw: bytes | None) -> None:
    """Its check sum is that of all that is there."""
    path = write(tmp_path, lying(CONTENT, raw, len(CONTENT) - 1))
    assert "has another length or check sum (CRC-32) than it says" in refusal(path)


@pytest.mark.parametrize("cut", [1, 5])
def test_compressed_data_without_its_end_is_refused(tmp_path: Path, cut: int) -> None:
    assert "is cut short" in refusal(write(tmp_path, part(b"a-1/x", CONTENT, raw=deflate(CONTENT)[:-cut])))


def test_bytes_behind_compressed_data_are_refused_wherever_it_ends(tmp_path: Path) -> None:
    """It is read in pieces of 64 KiB: here it ends where a piece does."""
    content = bytes(64 * 1024 - 5)
    raw = b"\1" + struct.pack("<HH", len(content), len(content) ^ 0xFFFF) + content  # one stored block
    assert read_distribution(write(tmp_path, part(b"a-1/x", content, raw=raw))).project == "a"
    path = write(tmp_path, part(b"a-1/x", content, raw=raw + b"evil"))
    assert "something follows its compressed data" in refusal(path)


def test_metadata_longer_than_it_says_takes_little_memory(tmp_path: Path) -> None:
    content = bytes(48 * MIB)
    member = lying(content, deflate(content), 10, b"a-1/PKG-INFO")
    path = write(tmp_path, own=member)
    why, peak = peak_of(path)
    assert "has another length or check sum (CRC-32) than it says" in why
    assert peak < 16 * MIB
