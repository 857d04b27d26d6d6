"""Project pages: PEP 691 JSON and PEP 503 HTML, joined from rendered entries.

A page is a target, so the same events give the same bytes. Members are sorted. Files and versions are sorted by code
point. `_last-serial` is the index of the last accepted event of the project.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec
import orjson

from projections.index.chunks import Chunk
from projections.metadata.paths import package_target
from projections.metadata.targets import Standing

API_VERSION = "1.4"
_SORTED = orjson.OPT_SORT_KEYS
_OPENING = b'{"files":['


# `gc=False`: there are millions, and texts and numbers make no cycles.
class FileFacts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The facts of a distribution file.

    `release` is the key of the file's release: its version in the one form of all spellings. `legacy` is what the
    upload said. `rank` orders files that hold one path: it is 0, or for a file that was accepted as legacy one more
    than the index of its upload. `yanked` is the reason of the file's own yank; None if the file is not yanked by
    itself. A removed file can also be withheld: its bytes are not to be served. One that was freed is removed and
    withheld for ever, and its name is free.
    """

    filename: str
    version: str
    release: str
    length: int
    sha256: str
    blake2b_256: str
    uploaded_at: str
    requires_python: str | None
    core_metadata_sha256: str | None
    provenance_sha256: str | None
    legacy: bool
    rank: int
    yanked: str | None = None
    removed: bool = False
    withheld: bool = False
    freed: bool = False

    @property
    def path(self) -> str:
        """The file's target path."""
        return package_target(self.blake2b_256, self.filename)


class Release(msgspec.Struct, array_like=True):
    """A release: the spellings of its version, its flags (None: not set), and the number of files that are removed and
    not withheld.

    `spellings` are those of the files that are not removed, in the order in which they came, with the number of files
    of each.
    """

    spellings: dict[str, int] = msgspec.field(default_factory=dict)
    yanked: str | None = None
    quarantined: str | None = None
    left: int = 0

    def add(self, version: str) -> None:
        """Count a file."""
        self.spellings[version] = self.spellings.get(version, 0) + 1

    def remove(self, version: str) -> None:
        """Count a file less. A spelling whose last file goes loses its place."""
        self.spellings[version] -= 1
        if not self.spellings[version]:
            del self.spellings[version]


NO_RECORD = "0" * 64
"""The digest of the last accepted record about a project that has none."""


class ProjectHeader(msgspec.Struct, array_like=True):
    """The state of a project, apart from its files. A project that never existed has the status None.

    The key of a release is its version in canonical form: 1.0 and 1.0.0 are one release (PEP 440). `left` is the number
    of files that are removed and not withheld, in all releases.
    """

    status: str | None = None
    reason: str = ""
    removed: bool = False
    last_serial: int = 0
    last_digest: str = NO_RECORD
    releases: dict[str, Release] = msgspec.field(default_factory=dict)
    left: int = 0

    @property
    def exists(self) -> bool:
        """Whether the index has such a project."""
        return self.status is not None and not self.removed

    def lists(self, facts: FileFacts) -> bool:
        """Whether the page shows a file. A file that the page does not show is not a target either."""
        return (
            not facts.removed
            and self.exists
            and self.status != "quarantined"
            and self.releases[facts.release].quarantined is None
        )

    def standing(self, facts: FileFacts) -> Standing:
        """How the project holds a file's path."""
        return "withholds" if facts.withheld else "lists" if self.lists(facts) else "has"


_facts_decoder = msgspec.msgpack.Decoder(list[FileFacts])
_facts_encoder = msgspec.msgpack.Encoder()


def read_facts(chunk: Chunk) -> list[FileFacts]:
    """The files of a stored chunk of a project, removed ones too.

    Raises:
        ValueError: the facts were not loaded.
    """
    if chunk.facts is None:
        raise ValueError(f"the files from {chunk.lower!r} on were not loaded")
    return _facts_decoder.decode(chunk.facts) if chunk.facts else []


FILES_PER_CHUNK = 16
"""Number of files in a chunk of a project: one upload renders and stores as many."""


class FileCodec:
    """Files of a project in chunks: facts as MessagePack, entries of the pages as JSON and HTML."""

    def __init__(self, header: ProjectHeader, *, html: bool, renders: bool = True) -> None:
        self._header = header
        self._html = html
        self._renders = renders

    def parse(self, chunk: Chunk) -> dict[str, FileFacts]:
        """The facts of a chunk by filename."""
        return {facts.filename: facts for facts in read_facts(chunk)}

    def render(self, lower: str, entries: Sequence[tuple[str, FileFacts]]) -> Chunk:
        """A chunk of these files, with the entries of those that the page shows."""
        encoded = _facts_encoder.encode([facts for _, facts in entries])
        if not self._renders:
            return Chunk(lower, encoded)
        shown = [(facts, self._yanked(facts)) for _, facts in entries if self._header.lists(facts)]
        return Chunk(
            lower,
            encoded,
            ",".join([_json_entry(facts, yanked) for facts, yanked in shown]).encode(),
            "".join([_html_entry(facts, yanked) for facts, yanked in shown]).encode() if self._html else b"",
        )

    def _yanked(self, facts: FileFacts) -> str | None:
        return facts.yanked if facts.yanked is not None else self._header.releases[facts.release].yanked


def json_page(name: str, header: ProjectHeader, chunks: Iterable[Chunk]) -> bytes:
    """The page of a project (PEP 691, PEP 700, PEP 792; absent members of PEP 708 are left out)."""
    frame: dict[str, Any] = {
        "files": [],
        "meta": {"_last-serial": header.last_serial, "api-version": API_VERSION},
        "name": name,
        "project-status": {"status": header.status} | ({"reason": header.reason} if header.reason else {}),
        "versions": sorted(next(iter(release.spellings)) for release in header.releases.values() if release.spellings),
    }
    files = b",".join([chunk.body for chunk in chunks if chunk.body])
    return b"".join([_OPENING, files, orjson.dumps(frame, option=_SORTED)[len(_OPENING) :]])


def page_bodies(page: bytes, lengths: Sequence[int]) -> list[memoryview]:
    """The bodies of a project's chunks in its page, in order, given their lengths.

    Raises:
        ValueError: the page was not made of chunks with these lengths.
    """
    at, bodies = len(_OPENING), []
    for length in lengths:
        bodies.append(memoryview(page)[at : at + length])
        at += length + 1 if length else 0
    end = at - 1 if any(lengths) else at
    if page[: len(_OPENING)] != _OPENING or page[end : end + 1] != b"]":
        raise ValueError("the page is not made of these chunks")
    return bodies


def html_page(name: str, header: ProjectHeader, chunks: Iterable[Chunk]) -> bytes:
    """The page of a project for clients without JSON (PEP 503, PEP 592, PEP 658, PEP 714, PEP 792)."""
    status = f'  <meta name="pypi:project-status" content="{header.status}">\n'
    if header.reason:
        status += f'  <meta name="pypi:project-status-reason" content="{escape(header.reason)}">\n'
    return b"".join(
        [
            _html_head(f"Links for {name}", f"{status}"),
            *(chunk.html for chunk in chunks),
            b"</body>\n</html>\n<!--SERIAL %d-->\n" % header.last_serial,
        ]
    )


def json_list(names: bytes, last_serial: int) -> bytes:
    """The list of all projects (PEP 691) from the rendered entries of `projections.index.project_list`."""
    return b'{"meta":{"_last-serial":%d,"api-version":"%s"},"projects":[%s]}' % (
        last_serial,
        API_VERSION.encode(),
        names,
    )


def html_list(names: Iterable[str], last_serial: int) -> bytes:
    """The list of all projects for clients without JSON (PEP 503)."""
    links = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in names)
    return b"".join(
        [_html_head("Simple index", ""), links.encode(), b"</body>\n</html>\n<!--SERIAL %d-->\n" % last_serial]
    )


def _html_head(title: str, extra: str) -> bytes:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n  <meta charset="utf-8">\n'
        f'  <meta name="pypi:repository-version" content="{API_VERSION}">\n{extra}'
        f"  <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
    ).encode()


def _json_entry(facts: FileFacts, yanked: str | None) -> str:
    """Render a member of `files`.

    A page can have thousands, so no encoder sorts a dictionary for each: the members are written here in their order.
    Values that by `schemas.fields` contain nothing to escape are written as they are.
    """
    url = _url(facts)
    digest = facts.core_metadata_sha256
    core_metadata = f'{{"sha256":"{digest}"}}' if digest else "false"
    provenance = f'"{url}.provenance"' if facts.provenance_sha256 else "null"
    requires_python = "null" if facts.requires_python is None else _json_text(facts.requires_python)
    yank = "false" if yanked is None else _json_text(yanked) if yanked else "true"
    # `data-dist-info-metadata` is the name before PEP 714, for older clients.
    return (
        f'{{"core-metadata":{core_metadata},"data-dist-info-metadata":{core_metadata},"filename":"{facts.filename}"'
        f',"hashes":{{"sha256":"{facts.sha256}"}},"provenance":{provenance},"requires-python":{requires_python}'
        f',"size":{facts.length},"upload-time":"{facts.uploaded_at}","url":"{url}","yanked":{yank}}}'
    )


@lru_cache(maxsize=1024)  # nearly all files share a few specifiers
def _json_text(text: str) -> str:
    return orjson.dumps(text).decode()


def _url(facts: FileFacts) -> str:
    """A file's URL in its project's page (RFC 3986): only old names have characters that are escaped."""
    return f"../../{quote(facts.path, safe='/+!')}"


def _html_entry(facts: FileFacts, yanked: str | None) -> str:
    return _html_link(
        _url(facts),
        facts.filename,
        facts.sha256,
        requires_python=facts.requires_python,
        core_metadata_sha256=facts.core_metadata_sha256,
        has_provenance=facts.provenance_sha256 is not None,
        yanked=yanked,
    )


def _html_link(
    url: str,
    filename: str,
    sha256: str,
    *,
    requires_python: str | None,
    core_metadata_sha256: str | None,
    has_provenance: bool,
    yanked: str | None,
) -> str:
    """A link of a page. URL and digests have nothing to escape."""
    attributes = f'href="{url}#sha256={sha256}"'
    if requires_python:
        attributes += f' data-requires-python="{escape(requires_python)}"'
    if core_metadata_sha256:
        attributes += f' data-dist-info-metadata="sha256={core_metadata_sha256}"'
        attributes += f' data-core-metadata="sha256={core_metadata_sha256}"'
    if has_provenance:
        attributes += f' data-provenance="{url}.provenance"'
    if yanked is not None:
        attributes += f' data-yanked="{escape(yanked)}"'
    return f"<a {attributes}>{escape(filename)}</a><br>\n"


def html_of_json(page: bytes) -> bytes:
    """The HTML form of a JSON page, of a project or of the list of all projects: the bytes that `html_page` and
    `html_list` make of the same state.

    Raises:
        ValueError: it is no such page.
    """
    try:
        found = orjson.loads(page)
        serial = int(found["meta"]["_last-serial"])
        if "projects" in found:
            return html_list([escape(each["name"]) for each in found["projects"]], serial)
        status = found["project-status"]
        header = ProjectHeader(escape(status["status"]), status.get("reason", ""), last_serial=serial)
        links = "".join([_link_of_json(each) for each in found["files"]])
        return html_page(escape(found["name"]), header, [Chunk("", b"", b"", links.encode())])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no page of an index: {error}") from error


def _link_of_json(entry: dict[str, Any]) -> str:
    core_metadata, yanked = entry["core-metadata"], entry["yanked"]
    return _html_link(
        escape(entry["url"]),
        entry["filename"],
        escape(entry["hashes"]["sha256"]),
        requires_python=entry["requires-python"],
        core_metadata_sha256=escape(core_metadata["sha256"]) if core_metadata else None,
        has_provenance=entry["provenance"] is not None,
        yanked=None if yanked is False else "" if yanked is True else yanked,
    )
