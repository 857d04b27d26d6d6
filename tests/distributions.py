"""Wheels and source distributions for tests, made without a build tool: the same arguments give the same bytes."""

import base64
import csv
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

Members = Iterable[tuple[str, bytes]]


def build_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    files: Mapping[str, bytes] | None = None,
    metadata: bytes | None = None,
    filename: str | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """A pure wheel that installs; `metadata` and `filename` may contradict the rest, `files` are beside the module."""
    stem = f"{_escape(name)}-{version.replace('-', '_')}"
    members = {
        f"{_escape(name)}.py": f"__version__ = {version!r}\n".encode(),
        **(files or {}),
        f"{stem}.dist-info/METADATA": build_metadata(name, version, requires_python) if metadata is None else metadata,
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [record_line(path, content) for path, content in members.items()]
    members[f"{stem}.dist-info/RECORD"] = b"".join([*lines, f"{stem}.dist-info/RECORD,,\n".encode()])
    path = folder / (filename or f"{stem}-py3-none-any.whl")
    path.write_bytes(pack_zip(members.items(), compression=compression))
    return path


def build_sdist(
    folder: Path,
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    files: Mapping[str, bytes] | None = None,
    metadata: bytes | None = None,
    filename: str | None = None,
    suffix: str = ".tar.gz",
) -> Path:
    """A source distribution, `.tar.gz` or `.zip`; `files` are relative to its top folder."""
    top = f"{_escape(name)}-{version}"
    members = {
        f"{top}/pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n'.encode(),
        f"{top}/{_escape(name)}.py": f"__version__ = {version!r}\n".encode(),
        f"{top}/PKG-INFO": build_metadata(name, version, requires_python) if metadata is None else metadata,
        **{f"{top}/{path}": content for path, content in (files or {}).items()},
    }
    path = folder / (filename or f"{top}{suffix}")
    path.write_bytes(
        pack_zip(members.items()) if suffix == ".zip" else pack_gzip(pack_tar(members.items())),
    )
    return path


def build_metadata(name: str, version: str, requires_python: str | None = None) -> bytes:
    """The least that METADATA and PKG-INFO have."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Summary: made for a test"]
    if requires_python is not None:
        lines.append(f"Requires-Python: {requires_python}")
    return ("\n".join(lines) + "\n\nA longer description.\n").encode()


def pack_zip(members: Members, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members, in this order; stored by default, for then no zlib has a say in the bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in members:
            info = zipfile.ZipInfo(path)  # 1980-01-01, the default
            info.compress_type = compression
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return packed.getvalue()


def pack_tar(members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of these members, in this order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def pack_gzip(content: bytes, *, level: int = 0) -> bytes:
    """The content as gzip, without a name or time, stored by default."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=level, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


def _escape(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def record_line(name: str, content: bytes) -> bytes:
    """The line of RECORD for a file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([name, f"sha256={digest}", len(content)])
    return line.getvalue().encode()
