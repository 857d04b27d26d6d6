"""Bad files and bad events: what is wrong is said, and nothing half is done."""

import json
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from consumers.cli.commands.append import MAX_LINE_BYTES
from schemas.codec import encode_event
from schemas.events import MAX_EVENT_BYTES
from tests.client.attacker import append
from tests.client.index import Index, lines
from tests.distributions import build_sdist, build_wheel
from tests.factory import Make

# --- add ---------------------------------------------------------------------------------------------------------


def damaged_in_the_middle(folder: Path) -> Path:
    path = build_wheel(folder, "bad", "1.0", compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    return path


def cut_off(folder: Path) -> Path:
    path = build_sdist(folder, "bad", "1.0")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def no_archive(folder: Path) -> Path:
    path = folder / "bad-1.0-py3-none-any.whl"
    path.write_bytes(b"this is no zip")
    return path


def empty(folder: Path) -> Path:
    path = folder / "bad-1.0.tar.gz"
    path.write_bytes(b"")
    return path


def another_name(folder: Path) -> Path:
    return build_wheel(folder, "bad", "1.0", filename="good-1.0-py3-none-any.whl")


def another_version(folder: Path) -> Path:
    return build_wheel(folder, "bad", "1.0", filename="bad-2.0-py3-none-any.whl")


def no_name_of_a_distribution(folder: Path) -> Path:
    path = folder / "bad.txt"
    path.write_bytes(b"text")
    return path


def no_version(folder: Path) -> Path:
    return build_sdist(folder, "bad", "1.0", metadata=b"Metadata-Version: 2.1\nName: bad\n\n")


def not_there(folder: Path) -> Path:
    return folder / "none[1].whl"


def taken(folder: Path) -> Path:
    return build_wheel(folder, "one", "1.0", files={"more.py": b"more"})


BAD_FILES: tuple[Callable[[Path], Path], ...] = (
    damaged_in_the_middle,
    cut_off,
    no_archive,
    empty,
    another_name,
    another_version,
    no_name_of_a_distribution,
    no_version,
    not_there,
    taken,
)


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_bad_file_is_refused_and_nothing_is_added(index: Index, tmp_path: Path, bad: Callable[[Path], Path]) -> None:
    folder = tmp_path / "dist [new]"
    folder.mkdir()
    path = bad(folder)
    good = build_wheel(folder, "good", "1.0", filename="good-1.0-1-py3-none-any.whl")
    before = index.info()["sizes"]
    for arguments in ((path,), (good, path), (folder,)):
        if arguments == (folder,) and bad in {no_name_of_a_distribution, not_there}:
            continue  # not found in a folder
        output = index.run("add", *arguments, answer=1 if bad is taken else 2)
        assert path.name in output.replace("\n", "")
    assert index.info()["sizes"] == before
    assert not list(index.public.rglob("*good*"))
    index.verify()


def test_two_files_of_one_name(index: Index, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        build_wheel(tmp_path / str(number), "new", "1.0", files={"x.py": b"%d" % number})
    assert "the same name but different bytes" in index.run("add", tmp_path / "1", tmp_path / "2", answer=1)
    shutil.copytree(tmp_path / "1", tmp_path / "again")
    assert "Added 1 file" in index.run("add", tmp_path / "1", tmp_path / "again")


def test_a_filename_that_is_taken_but_not_published_yet(index: Index, tmp_path: Path) -> None:
    """Nothing knows it here; the fold decides."""
    paths = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        paths.append(build_wheel(tmp_path / str(number), "new", "1.0", files={"x.py": b"%d" % number}))
        index.run("add", paths[-1])
    seen = index.publish_and_check()
    digest = sha256(paths[0].read_bytes()).hexdigest()
    assert seen.projects["new"].files[paths[0].name]["hashes"]["sha256"] == digest
    assert [each["code"] for each in index.ask_list("rejected")] == ["filename-taken"]


@pytest.mark.parametrize(
    "target", ["../x", "/x", "a//b", "simple/x", "packages/x", "a/../b", "x" * 600, "a\\b", "a%20b"]
)
def test_a_target_path_that_is_none(index: Index, target: str) -> None:
    before = index.info()["sizes"]
    index.run("add", "--as", target, __file__, answer=1)
    assert index.info()["sizes"] == before


def test_nothing_to_add(index: Index, tmp_path: Path) -> None:
    assert "no wheels" in index.run("add", tmp_path / "index" / "keys", answer=1)
    index.run("add", "--as", "x", __file__, __file__, answer=2)
    index.run("add", "--as", "x", tmp_path, answer=1)


# --- append ------------------------------------------------------------------------------------------------------


def event(number: int) -> bytes:
    """An event of its own."""
    return encode_event(Make().having(id=f"id-{number}").project_created(f"project-{number}"))


BAD_LINES = {
    "not-json": b"{",
    "duplicate-member": event(9).replace(b'"id"', b'"id":"x","id"', 1),
    "unknown-type": event(9).replace(b"project.created", b"project.invented"),
    "invalid": event(9).replace(b"project-9", b"Project_9"),
    "oversize": b'"' + b"x" * MAX_EVENT_BYTES + b'"',
    "too-deep": b"[" * 40 + b"]" * 40,
}


@pytest.mark.parametrize("code", BAD_LINES)
def test_a_bad_line_ends_it_and_is_named(index: Index, code: str) -> None:
    content = b"\n".join([event(1), b"", b"  " + event(2) + b"\r", BAD_LINES[code], event(3)])
    output = index.run("append", stdin=content, answer=1)
    assert f"line 4: {code}: " in output
    assert "Appended 2 events" in output
    assert "nothing from that line on was appended" in output
    index.publish()
    assert {"project-1", "project-2"} <= set(index.check().projects)
    assert "project-3" not in index.check().projects
    index.run("append", stdin=content, answer=1)
    index.publish()
    assert {each["code"] for each in index.ask_list("rejected", "--all")} == {"repeated"}


def test_going_on_after_bad_lines(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "events [1].ndjson"
    path.write_bytes(b"\n".join([BAD_LINES["invalid"], event(1), BAD_LINES["not-json"], event(2), b"\xff"]))
    output = index.run("append", path, "--keep-going", answer=1)
    assert [line.split(":")[0] for line in output.splitlines() if line.startswith("line")] == [
        "line 1",
        "line 3",
        "line 5",
    ]
    assert "3 bad lines" in output
    index.publish()
    assert {"project-1", "project-2"} <= set(index.check().projects)
    assert index.ask_list("rejected") == []


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_is_as_long_as_lines_may_be(index: Index, end: bytes) -> None:
    """What is longer is no event, even if what was read of it is one."""
    size = index.info()["sizes"]["events"]
    padded = event(1) + b" " * (MAX_LINE_BYTES - len(event(1)) - len(end))
    for more in (b" ", b"x", b" " * MAX_LINE_BYTES, b" " * MAX_LINE_BYTES + b"x"):
        output = index.run("append", stdin=padded + more + end, answer=1)
        assert "line 1: oversize: the line has over 131,070 bytes" in output
        assert index.info()["sizes"]["events"] == size
    assert "Appended 2 events" in index.run("append", stdin=event(2) + b"\n" + padded + end)


def test_nothing_to_append(index: Index) -> None:
    assert "Appended 0 events" in index.run("append", stdin=b"\n \n\r\n")
    assert "Appended 0 events" in index.run("append", "--wait", stdin=b"")
    index.run("append", "none.ndjson", answer=2)
    # A file whose reading fails: the first page of memory is not there.
    assert "/proc/self/mem cannot be read: Input/output error" in index.run("append", "/proc/self/mem", answer=1)


def test_many_lines(index: Index) -> None:
    make = Make()
    content = lines(make.project_created(f"many-{number}") for number in range(2_500))
    answers = index.ask_list("append", stdin=content + b"bad\n", answer=1)
    assert len(answers) == 2_500
    assert [each["event"] for each in answers] == list(range(6, 2_506))


def test_what_people_read_has_no_control_characters(index: Index) -> None:
    """An escape sequence in an event must not reach the terminal of whoever asks why it was rejected."""
    bad = event(1).replace(b'"user"', b'"\\u001b]0;owned\\u0007"')
    output = index.run("append", stdin=bad, answer=1)
    assert json.dumps(output).count("\\u001b") == 0


def test_rejected_has_no_control_characters_either(index: Index) -> None:
    append(index, [event(1).replace(b'"user"', b'"\\u001b]0;owned\\u0007"')])
    index.publish()
    assert json.dumps(index.run("rejected")).count("\\u001b") == 0
