"""Reading pages in JSON (PEP 691, PEP 700, PEP 714, PEP 740, PEP 792)."""

import re
from typing import Any
from urllib.parse import urldefrag, urljoin

import orjson

from ledger.simple.source_pages import (
    MAX_FILENAME_CHARACTERS,
    MAX_NAME_CHARACTERS,
    EntryError,
    SourceFile,
    SourcePage,
    SourcePageError,
    UnreadableFile,
    without_twins,
)

_HEXADECIMAL = re.compile(r"(?:[0-9a-f]{2})+")


def read_json_list(body: bytes, url: str) -> list[str]:
    """The names of all projects, as they are written.

    Raises:
        SourcePageError: it is no such list.
    """
    found = _decode(body, url)
    projects = found.get("projects")
    if not isinstance(projects, list):
        raise SourcePageError(f"{url} is no list of projects (PEP 691): it has no `projects`")
    found_names = [each.get("name") if isinstance(each, dict) else None for each in projects]
    names = [name for name in found_names if isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARACTERS]
    if len(names) < len(projects):
        raise SourcePageError(f"{url} is no list of projects (PEP 691): one of them has no name")
    return names


def read_json_page(body: bytes, url: str) -> SourcePage:
    """The page of a project. An entry that is none does not spoil the others.

    Args:
        body: the page.
        url: its address, for relative ones in it.

    Raises:
        SourcePageError: it is no such page.
    """
    found = _decode(body, url)
    name, entries = found.get("name"), found.get("files")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS or not isinstance(entries, list):
        raise SourcePageError(f"{url} is no page of a project (PEP 691): it has no `name`, or no `files`")
    files: list[SourceFile] = []
    unreadable: list[UnreadableFile] = []
    for entry in entries:
        try:
            files.append(_read_entry(entry, url))
        except EntryError as error:
            filename = entry.get("filename") if isinstance(entry, dict) else None
            shown = filename[:MAX_FILENAME_CHARACTERS] if isinstance(filename, str) else ""
            unreadable.append(UnreadableFile(shown, str(error)))
    versions = found.get("versions")
    status = found.get("project-status")
    try:
        named, reason = (_text(status, "status"), _text(status, "reason")) if isinstance(status, dict) else (None, None)
    except EntryError as error:
        raise SourcePageError(f"{url}: the project {error}") from error
    return SourcePage(
        name=name,
        status=named or "active",
        status_reason=reason or None,
        versions=tuple(each for each in versions if isinstance(each, str)) if isinstance(versions, list) else None,
        files=without_twins(files, unreadable),
        unreadable=tuple(unreadable),
    )


def _decode(body: bytes, url: str) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourcePageError(f"{url} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SourcePageError(f"{url} is no page of an index (PEP 691): it is no JSON object")
    meta = found.get("meta")
    version = meta.get("api-version") if isinstance(meta, dict) else None
    if version is None:
        raise SourcePageError(
            f"{url} is no page of an index (PEP 691): name the address of the list of projects, as for pip's "
            "--index-url (most end in simple/)"
        )
    if not isinstance(version, str) or version.partition(".")[0] != "1":
        # PEP 629: clients refuse another major version.
        raise SourcePageError(f"{url} has the API version {str(version)[:20]!r}; this program knows 1.x (PEP 691)")
    return found


def _read_entry(entry: Any, base: str) -> SourceFile:
    """Read a member of `files`.

    Raises:
        EntryError: it is none; the message says why.
    """
    if not isinstance(entry, dict):
        raise EntryError("is no JSON object")
    filename = _text(entry, "filename")
    if not filename or len(filename) > MAX_FILENAME_CHARACTERS:
        raise EntryError("has no `filename`, or a very long one")
    size = entry.get("size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise EntryError(f"has no whole number of bytes as its `size`: {str(size)[:20]}")
    provenance = _text(entry, "provenance")
    # The name before PEP 714 counts where the new one is missing.
    metadata = entry.get("core-metadata", entry.get("data-dist-info-metadata"))
    return SourceFile(
        filename=filename,
        url=_join(base, _text(entry, "url"), "url"),
        hashes=_hashes(entry.get("hashes")),
        size=size,
        uploaded_at=_text(entry, "upload-time"),
        requires_python=_text(entry, "requires-python"),
        yanked=_yanked(entry.get("yanked")),
        has_core_metadata=bool(metadata),
        core_metadata_sha256=_hashes(metadata).get("sha256") if isinstance(metadata, dict) else None,
        provenance_url=_join(base, provenance, "provenance") if provenance else None,
    )


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise EntryError(f"has a `{name}` that is no text: {str(value)[:20]}")
    return value


def _join(base: str, url: str | None, what: str) -> str:
    if not url:
        raise EntryError(f"has no `{what}`")
    try:
        return urldefrag(urljoin(base, url)).url
    except ValueError as error:
        raise EntryError(f"has a `{what}` that is none: {error}") from error


def _hashes(found: Any) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise EntryError("has `hashes` that are no JSON object")
    hashes: dict[str, str] = {}
    for name, digest in found.items():
        lowered = digest.lower() if isinstance(digest, str) else ""
        if _HEXADECIMAL.fullmatch(lowered) is None:
            raise EntryError(f"has a hash that is not hexadecimal: {name[:20]} {str(digest)[:70]}")
        if name.lower() == "sha256" and len(lowered) != 64:
            raise EntryError(f"has a SHA-256 of another length than 64 digits: {lowered[:70]}")
        hashes[name.lower()] = lowered
    return hashes


def _yanked(found: Any) -> str | None:
    if isinstance(found, str):
        return found or None  # PEP 691: a reason is not empty; installers take an empty one for `false`
    if found is None or isinstance(found, bool):
        return "" if found else None
    raise EntryError(f"has a `yanked` that is neither text nor true nor false: {str(found)[:20]}")
