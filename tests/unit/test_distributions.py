"""`ledger.distributions.distribution`: what is read of a file and its metadata, and which files are looked at."""

import hashlib
import os
from pathlib import Path

import pytest

from ledger.distributions import archives, wheels
from ledger.distributions import distribution as distributions
from ledger.distributions.distribution import Distribution, DistributionError, find_distributions, read_distribution
from tests.distributions import build_metadata, build_sdist, build_wheel
from tests.unit.refusals import check_published, refusal

MIB = 1024 * 1024


# --- what is read ------------------------------------------------------------------------------------------------


def test_a_wheel_says_what_its_metadata_says(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "Zope.Interface", "1.0.Post1", requires_python=">=3.11, !=3.12.0")

    distribution = read_distribution(path)

    content = path.read_bytes()
    metadata = build_metadata("Zope.Interface", "1.0.Post1", ">=3.11, !=3.12.0")
    assert distribution == Distribution(
        path=path,
        filename="zope_interface-1.0.Post1-py3-none-any.whl",
        project="zope-interface",
        display_name="Zope.Interface",
        version="1.0.Post1",
        requires_python=">=3.11, !=3.12.0",
        length=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        blake2b_256=hashlib.blake2b(content, digest_size=32).hexdigest(),
        core_metadata=metadata,
        core_metadata_sha256=hashlib.sha256(metadata).hexdigest(),
    )
    check_published(distribution)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_source_distribution_has_no_core_metadata_to_serve(tmp_path: Path, suffix: str) -> None:
    path = build_sdist(tmp_path, "Example", "2!1.0rc1", requires_python=">=3.8", suffix=suffix)

    distribution = read_distribution(path)

    assert distribution.filename == f"example-2!1.0rc1{suffix}"
    assert (distribution.project, distribution.version) == ("example", "2!1.0rc1")
    assert distribution.requires_python == ">=3.8"
    assert (distribution.core_metadata, distribution.core_metadata_sha256) == (None, None)
    assert distribution.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    check_published(distribution)


@pytest.mark.parametrize(
    ("name", "version", "filename"),
    [
        ("PyYAML", "3.13", "PyYAML-3.13.tar.gz"),
        ("zope.interface", "4.0.5", "zope.interface-4.0.5.zip"),
        ("antlr4-python3-runtime", "4.9.3", "antlr4-python3-runtime-4.9.3.tar.gz"),
        ("python-dateutil", "2.8.2", "python_dateutil-2.8.2-py2.py3-none-any.whl"),
        ("html5lib", "0.999999999", "html5lib-0.999999999-py2.py3-none-any.whl"),
        ("certifi", "2023.07.22", "certifi-2023.7.22-py3-none-any.whl"),
        ("shim", "0.1.0.post0", "shim-0.1.0.post0-py2.py3-none-any.whl"),
        ("built", "1.0", "built-1.0-2_abc-cp311-abi3-manylinux1_x86_64.manylinux2014_x86_64.whl"),
        ("local", "1.0+ubuntu-1", "local-1.0+ubuntu_1-py3-none-any.whl"),
        ("local", "1.0+ubuntu.1", "local-1.0+ubuntu.1.tar.gz"),
        ("zeros", "1", "zeros-1.0.0.tar.gz"),
        ("v", "v1.0-POST-3", "v-1.0.post3-py3-none-any.whl"),
        ("dashed", "1.0-alpha_1", "dashed-1.0_alpha_1-py3-none-any.whl"),
        ("x", "1.0", "X-1.0.tar.gz"),
    ],
)
def test_names_as_they_are_on_pypi_are_read_and_accepted(
    tmp_path: Path, name: str, version: str, filename: str
) -> None:
    suffix = ".zip" if filename.endswith(".zip") else ".tar.gz"
    if filename.endswith(".whl"):
        path = build_wheel(tmp_path, name, version, filename=filename)
    else:
        path = build_sdist(tmp_path, name, version, filename=filename, suffix=suffix)

    distribution = read_distribution(path)

    assert (distribution.display_name, distribution.version) == (name, version)
    check_published(distribution)


def test_the_same_arguments_build_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    for build in (build_wheel, build_sdist):
        one, two = (build(tmp_path / name, "example", "1.0") for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("metadata", "requires_python"),
    [
        (b"Name: example\nVersion: 1.0\n", None),
        (b"name:example\nVERSION:   1.0   \n", None),
        (b"Name: example\r\nVersion: 1.0\r\nRequires-Python: >=3\r\n\r\nbody\r\n", ">=3"),
        (b"Name: example\nVersion: 1.0\nRequires-Python:\n", None),
        (b"Name: example\nVersion: 1.0\nRequires-Python: >=3.6.*\n", ">=3.6.*"),
        (b"Name: example\nVersion: 1.0\nRequires-Python: >=2.7,!=3.0*\n", ">=2.7,!=3.0*"),
        (b"Name: example\nVersion: 1.0\nRequires-Python: >=3.6,\n        !=3.7.0\n", ">=3.6, !=3.7.0"),
        ("Author: Jörg\nName: example\nVersion: 1.0\n\n Name: other\n".encode(), None),
        (b"Name: example\nVersion: 1.0\nContent-Type: message/rfc822\n\nName: other\n\nVersion: 2\n", None),
        (b"Name: example\nVersion: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n--x--\n", None),
        (b"Name: example\nVersion: 1.0\nDescription: one\n two\n  Name: other\n", None),
        (b"Name: example\nVersion: 1.0\nKeywords\nName: other\nVersion: 2\n", None),
    ],
)
def test_sloppy_metadata_is_read_as_installers_read_it(
    tmp_path: Path, metadata: bytes, requires_python: str | None
) -> None:
    distribution = read_distribution(build_wheel(tmp_path, "example", "1.0", metadata=metadata))

    assert distribution.requires_python == requires_python
    assert distribution.core_metadata == metadata


def test_metadata_of_vendored_projects_is_not_the_wheels(tmp_path: Path) -> None:
    files = dict.fromkeys(["_vendor/other-2.0.dist-info/METADATA", "example.egg-info/PKG-INFO", "METADATA"], b"")
    files |= {
        "example-1.0.dist-info/NOT-METADATA": b"",
        "example-1.0.dist-info/sub/METADATA": b"",
        "data/METADATA": b"",
    }
    assert read_distribution(build_wheel(tmp_path, "example", "1.0", files=files)).project == "example"

    files = {"example.egg-info/PKG-INFO": b"", "src/PKG-INFO": b""}
    for suffix in (".tar.gz", ".zip"):
        assert read_distribution(build_sdist(tmp_path, "example", "1.0", files=files, suffix=suffix)).version == "1.0"


def test_long_paths_are_read(tmp_path: Path) -> None:
    path = build_sdist(tmp_path, "example", "1.0", files={"deep/" * 100 + "file": b"x" * 100_000})
    assert read_distribution(path).project == "example"
    assert list(tmp_path.iterdir()) == [path]


# --- files that cannot be read -----------------------------------------------------------------------------------


def test_what_is_not_a_plain_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "example-1.0.tar.gz")
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe-1.0.tar.gz")
    assert "is not a plain file" in refusal(tmp_path / "pipe-1.0.tar.gz")
    (tmp_path / "empty-1.0.tar.gz").touch()
    assert "is empty" in refusal(tmp_path / "empty-1.0.tar.gz")
    (tmp_path / "loop-1.0.tar.gz").symlink_to(tmp_path / "loop-1.0.tar.gz")
    assert "cannot be read" in refusal(tmp_path / "loop-1.0.tar.gz")
    assert "cannot be read" in refusal(tmp_path / ("x" * 300 + ".whl"))
    assert "is not a path" in refusal(tmp_path / "nul\0-1.0.tar.gz")
    assert "is not a path" in refusal(tmp_path / "lone\ud800-1.0.tar.gz")
    assert "cannot be read (Not a directory)" in refusal(build_sdist(tmp_path, "a", "1") / "b-1.0.tar.gz")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_wheel(tmp_path, "example", "1.0")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    assert "cannot be read (Permission denied)" in refusal(path)


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = build_wheel(tmp_path, "example", "1.0")
    content = path.read_bytes()
    read = wheels.read_wheel_metadata

    def read_and_change(*arguments: object) -> bytes:
        metadata = read(*arguments)  # type: ignore[arg-type]
        if change == "grows":
            path.write_bytes(content + b"x")
        elif change == "shrinks":
            os.truncate(path, 10)
        else:
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return metadata

    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))
    before = path.stat()
    monkeypatch.setattr(distributions, "read_wheel_metadata", read_and_change)
    assert "changed while it was read" in refusal(path)


def test_a_file_that_grows_while_it_is_hashed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_wheel(tmp_path, "example", "1.0", files={"data": bytes(5000)})
    blocks: list[bytes] = []

    class Growing:
        """As fast as it is read."""

        def update(self, block: bytes) -> None:
            blocks.append(block[:1])
            if len(blocks) < 20:
                with path.open("ab") as file:
                    file.write(bytes(MIB))

        def hexdigest(self) -> str:
            return "00" * 32

    monkeypatch.setattr(hashlib, "blake2b", lambda **_: Growing())
    assert "changed while it was read" in refusal(path)
    assert len(blocks) < 5


def test_a_file_that_becomes_a_pipe_before_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_wheel(tmp_path, "example", "1.0")
    opens = os.open

    def replace_and_open(name: Path, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return opens(name, flags)

    monkeypatch.setattr(os, "open", replace_and_open)
    assert "is not a plain file" in refusal(path)


def test_a_source_distribution_whose_metadata_is_not_utf8_is_read(tmp_path: Path) -> None:
    """Old ones have authors in Latin-1; what they say is not served."""
    metadata = b"Author: J\xf6rg\n" + build_metadata("example", "1.0")
    assert read_distribution(build_sdist(tmp_path, "example", "1.0", metadata=metadata)).version == "1.0"


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "why"),
    [
        ("example-1.0.tar.bz2", "is not named like"),
        ("example-1.0.egg", "is not named like"),
        ("example-1.0.tar.gz.asc", "is not named like"),
        ("example-1.0-py3-none-any.WHL", "is not named like"),
        ("example.tar.gz", "is not named like a wheel (PEP 427)"),
        ("-1.0.tar.gz", "a name that an index cannot serve"),
        ("example-1.0-py3-none.whl", "wrong number of parts"),
        ("example-1.0-1-2-py3-none-any.whl", "wrong number of parts"),
        ("example-1.0-build-py3-none-any.whl", "build number"),
        ("example-one-py3-none-any.whl", "invalid version"),
        ("example-1.0_1-py3-none-any.whl", "invalid version"),
        ("example-one.tar.gz", "invalid version"),
        ("_example-1.0.tar.gz", "project '-example', which is not a valid name"),
        ("example_-1.0-py3-none-any.whl", "project 'example-', which is not a valid name"),
        ("example 1-1.0.tar.gz", "a name that an index cannot serve"),
        ("éxample-1.0.tar.gz", "a name that an index cannot serve"),
        ("exam\nple-1.0.tar.gz", "a name that an index cannot serve"),
        ("exam\x1b[31mple-1.0.tar.gz", "a name that an index cannot serve"),
        ("e" * 180 + "-1.0.tar.gz", "a name that an index cannot serve"),
        (os.fsdecode(b"ex\xe4mple-1.0.tar.gz"), "a name that an index cannot serve"),
        ("example-1.0-1.tar.gz", "'example-1-0' by its name"),
        ("other-1.0.tar.gz", "'other' by its name, to 'example' by its metadata"),
        ("other-1.0-py3-none-any.whl", "'example-1.0.dist-info', but needs the .dist-info folder of other 1.0"),
        ("example-1.0.1.tar.gz", "1.0.1 by its name, 1.0 by its metadata"),
        ("example-1.0rc1-py3-none-any.whl", "needs the .dist-info folder of example 1.0rc1"),
        ("example-1.0+local-py3-none-any.whl", "needs the .dist-info folder of example 1.0+local"),
    ],
)
def test_a_file_that_is_named_wrongly_is_refused(tmp_path: Path, filename: str, why: str) -> None:
    build = build_wheel if filename.endswith(".whl") else build_sdist
    assert why in refusal(build(tmp_path, "example", "1.0", filename=filename))


def test_the_longest_filename_is_read(tmp_path: Path) -> None:
    stem = "e" * (190 - len("-1.tar.gz"))
    assert len(read_distribution(build_sdist(tmp_path, stem, "1")).filename) == 190
    assert "at most 190" in refusal(build_sdist(tmp_path, stem + "e", "1"))


# --- metadata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("", "without a Name"),
        ("Version: 1.0\n", "without a Name"),
        ("Name:\nVersion: 1.0\n", "without a Name"),
        ("\nName: example\nVersion: 1.0\n", "without a Name"),
        ("Name: example\n", "without a Version"),
        ("Name: example\nName: example\nVersion: 1.0\n", "says its Name 2 times"),
        ("Name: example\nVersion: 1.0\nversion: 1.0\n", "says its Version 2 times"),
        ("Name: exam ple\nVersion: 1.0\n", "by its metadata"),
        ("Name: example-\nVersion: 1.0\n", "by its metadata"),
        (f"Name: exa{'m' * 300}ple\nVersion: 1.0\n", "by its metadata"),
        ("Name: example\x1b[31m\nVersion: 1.0\n", r"\x1b[31m"),
        ("Name: example\nVersion: one\n", "not one of PEP 440"),
        ("Name: example\nVersion: 1.0 beta!\n", "cannot serve"),
        (f"Name: example\nVersion: 1.{'0' * 127}\n", "cannot serve"),
        ("Name: example\nVersion: 1.0\nRequires-Python: ===3\u00e9\n", "Requires-Python"),
        ("Name: example\nVersion: 1.0\nRequires-Python: >=\u0663\n", "Requires-Python"),
        (f"Name: example\nVersion: 1.0\nRequires-Python: >=3{', >=3' * 102}\n", "Requires-Python"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, metadata: str, why: str) -> None:
    for build in (build_wheel, build_sdist):
        assert why in refusal(build(tmp_path, "example", "1.0", metadata=metadata.encode()))


def test_names_and_versions_that_only_look_alike_are_refused(tmp_path: Path) -> None:
    # The Kelvin sign is lower-cased to k.
    assert "by its metadata" in refusal(build_wheel(tmp_path, "k", "1", metadata="Name: \u212a\nVersion: 1\n".encode()))
    assert "cannot serve" in refusal(build_wheel(tmp_path, "k", "1", metadata="Name: k\nVersion: \u0661\n".encode()))


def test_a_name_of_separators_without_end_is_refused(tmp_path: Path) -> None:
    metadata = b"Name: a" + b"-" * 100_000 + b"b\nVersion: 1\n"
    assert "by its metadata" in refusal(build_wheel(tmp_path, "a-b", "1", metadata=metadata))


def test_metadata_beyond_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = build_metadata("example", "1.0") + b"x" * 1000
    paths = [build_wheel(tmp_path, "example", "1.0", metadata=metadata)]
    paths += [
        build_sdist(tmp_path, "example", "1.0", metadata=metadata, suffix=suffix) for suffix in (".zip", ".tar.gz")
    ]

    monkeypatch.setattr(archives, "MAX_METADATA_BYTES", len(metadata))
    for path in paths:
        assert read_distribution(path).project == "example"
    monkeypatch.setattr(archives, "MAX_METADATA_BYTES", len(metadata) - 1)
    for path in paths:
        assert "Shorten its description" in refusal(path)


def test_a_million_headers_take_no_time_to_speak_of(tmp_path: Path) -> None:
    headers = b"".join(b"X-%d: y\n" % number for number in range(300_000))
    path = build_wheel(tmp_path, "example", "1.0", metadata=headers + build_metadata("example", "1.0"))
    assert read_distribution(path).version == "1.0"


# --- folders -----------------------------------------------------------------------------------------------------


def test_folders_are_walked_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in [
        "b/z-1.zip",
        "b/a-1.tar.gz",
        "b/c/d-1-py3-none-any.whl",
        "a/x-1.zip",
        ".git/y-1.zip",
        "b/.hidden-1.zip",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ["m-1.tar.gz", "README.md", "m-1.tar.gz.asc", "B-1.whl"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b" / "self")
    (tmp_path / "link-1.zip").symlink_to(tmp_path / "a" / "x-1.zip")

    found = [str(path.relative_to(tmp_path)) for path in find_distributions([tmp_path])]

    assert found == [
        "B-1.whl",
        "link-1.zip",
        "m-1.tar.gz",
        "a/x-1.zip",
        "b/a-1.tar.gz",
        "b/z-1.zip",
        "b/c/d-1-py3-none-any.whl",
    ]


def test_paths_are_taken_as_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".hidden/a-1.zip", "real/b-1.zip", "README.md"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("link").symlink_to("real")
    given_paths = [Path("README.md"), Path("link"), Path(".hidden"), Path("README.md")]

    found = list(find_distributions(given_paths))

    assert found == [Path("README.md"), Path("link/b-1.zip"), Path(".hidden/a-1.zip"), Path("README.md")]


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dangling-1.zip").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "nowhere", tmp_path / "dangling-1.zip"):
        with pytest.raises(DistributionError, match=r"does not exist\. Check the path\."):
            list(find_distributions([path]))
    with pytest.raises(DistributionError, match="is not a path"):
        list(find_distributions([tmp_path / "nul\0"]))
    # In a folder it is not overlooked either: who reads it is told.
    assert "does not exist" in refusal(next(find_distributions([tmp_path])))


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(DistributionError, match="Permission denied"):
        list(find_distributions([tmp_path]))
