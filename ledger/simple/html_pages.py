"""Reading pages in HTML (PEP 503, PEP 592, PEP 658, PEP 714, PEP 740, PEP 792).

A page is cut into tags in one pass. That is all that PEP 503 needs, and takes no more time for a hostile page than for
another of its length; the parser of the standard library can take the square.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.utils import canonicalize_name

from ledger.simple.package_sources import is_name
from ledger.simple.source_pages import (
    ENDINGS,
    MAX_FILENAME_CHARACTERS,
    EntryError,
    SourceFile,
    SourcePage,
    SourcePageError,
    UnreadableFile,
    without_twins,
)

_ATTRIBUTE = re.compile(r"""([^\s=>"'/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?""")
_OPENING = re.compile(r"<(a|meta|base|title|h1)(?=[\s/>])", re.IGNORECASE)
_HASH = re.compile(r"(?i)(md5|sha1|sha224|sha256|sha384|sha512)=((?:[0-9a-f]{2})+)")
_TAG = re.compile(r"<[^<>]*>")


class _Tag(NamedTuple):
    """An element that begins: its name, its attributes (the first of a name counts), and the text up to the next tag
    of its name.
    """

    name: str
    attributes: dict[str, str]
    text: str


def read_html_list(body: bytes, url: str) -> list[str]:
    """The names of all projects, as the links to them are written.

    Some servers list folders so, with links to elsewhere: what cannot be the name of a project is none.

    Raises:
        SourcePageError: it is no such list.
    """
    names = []
    for tag in _tags(_decode(body, url)):
        if tag.name == "a" and not tag.attributes.get("href", "?").startswith(("?", "#")):
            last = unquote(tag.attributes["href"].rstrip("/").rpartition("/")[2])
            names.extend([each for each in (tag.text, last) if is_name(canonicalize_name(each))][:1])
    return names


def read_html_page(body: bytes, url: str, name: str) -> SourcePage:
    """The page of a project. A link that is none does not spoil the others.

    Args:
        body: the page.
        url: its address, for relative ones in it.
        name: the project that was asked for; pages in HTML do not say it in one place.

    Raises:
        SourcePageError: it is no such page.
    """
    files: list[SourceFile] = []
    unreadable: list[UnreadableFile] = []
    meta: dict[str, str] = {}
    base, below, is_folder = url, 0, False
    for tag in _tags(_decode(body, url)):
        if tag.name == "meta":
            meta.setdefault(tag.attributes.get("name", "").lower(), tag.attributes.get("content", ""))
        elif tag.name == "base" and base == url and tag.attributes.get("href"):
            base = _absolute(url, tag.attributes["href"]) or url
        elif tag.name == "a" and "href" in tag.attributes:
            link = _absolute(base, tag.attributes["href"])
            if link is not None and not _leads_to_file(link):
                below += link.startswith(url) and link.endswith("/")
                is_folder |= link == urljoin(url, "../") and url.endswith(f"/{name}/")  # as web servers list one
                continue
            try:
                files.append(_read_link(tag, link, base))
            except EntryError as error:
                unreadable.append(UnreadableFile(tag.text[:MAX_FILENAME_CHARACTERS], str(error)))
    if below and not files:
        raise SourcePageError(
            f"{url} lists folders, not files: name the address of the list of projects, as for pip's --index-url (most "
            "end in simple/)"
        )
    if not (files or unreadable or is_folder or any(each.startswith("pypi:") for each in meta)):
        # A form that asks for a password must not pass for a project that has lost its files.
        raise SourcePageError(
            f"{url} has no link to a file, and does not say that it is of an index (PEP 503, PEP 629)"
        )
    version = meta.get("pypi:repository-version", "1.0")
    if version.partition(".")[0] != "1":
        raise SourcePageError(f"{url} has the API version {version[:20]!r}; this program knows 1.x (PEP 629)")
    return SourcePage(
        name=name,
        status=meta.get("pypi:project-status", "") or "active",
        status_reason=meta.get("pypi:project-status-reason", "") or None,
        files=without_twins(files, unreadable),
        unreadable=tuple(unreadable),
    )


def _decode(body: bytes, url: str) -> str:
    if b"\x00" in body[:1024] or (body.strip() and b"<" not in body):
        raise SourcePageError(f"{url} is no page of an index (PEP 503): it is no HTML")
    return body.decode("utf-8", "replace")


def _tags(text: str) -> Iterator[_Tag]:
    """The elements that matter, in order. Comments are skipped."""
    at = 0
    while (at := text.find("<", at)) >= 0:
        if text.startswith("<!--", at):
            end = text.find("-->", at)
            if end < 0:
                return
            at = end + 3
            continue
        opening = _OPENING.match(text, at)
        if opening is None:
            at += 1
            continue
        attributes, at = _attributes(text, opening.end())
        name = opening[1].lower()
        yield _Tag(name, attributes, _text_after(text, at) if name == "a" else "")


def _attributes(text: str, at: int) -> tuple[dict[str, str], int]:
    """The attributes of a tag, and where it ends."""
    found: dict[str, str] = {}
    while at < len(text) and text[at] != ">":
        match = _ATTRIBUTE.match(text, at)
        if match is None:
            at += 1
            continue
        value = next((each for each in match.groups()[1:] if each is not None), "")
        found.setdefault(match[1].lower(), unescape(value))
        at = match.end()
    return found, at + 1


def _text_after(text: str, at: int) -> str:
    """The text of a link: up to its end or to the next link, without other tags."""
    near = text[at : at + 2 * MAX_FILENAME_CHARACTERS]
    end = re.search(r"</?a(?=[\s/>])", near, re.IGNORECASE)
    return unescape(_TAG.sub("", near[: end.start()] if end else near)).strip()


def _absolute(base: str, href: str) -> str | None:
    try:
        return urljoin(base, href.strip())
    except ValueError:
        return None


def _leads_to_file(link: str) -> bool:
    """Whether a link leads to a file: it has a digest, or ends like one. Pages have other links, to folders above."""
    url, fragment = urldefrag(link)
    return _HASH.fullmatch(fragment.partition("&")[0]) is not None or urlsplit(url).path.endswith(ENDINGS)


def _read_link(tag: _Tag, link: str | None, base: str) -> SourceFile:
    """Read a link to a file.

    Raises:
        EntryError: it is none; the message says why.
    """
    if link is None:
        raise EntryError(f"has an address that is none: {tag.attributes['href'][:100]}")
    url, fragment = urldefrag(link)
    # The last segment of the address is the file's name (PEP 503); some servers cut long texts.
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    if not filename or len(filename) > MAX_FILENAME_CHARACTERS:
        raise EntryError("links to no file, or to one with a very long name")
    provenance = tag.attributes.get("data-provenance")
    metadata = tag.attributes.get("data-core-metadata", tag.attributes.get("data-dist-info-metadata"))
    return SourceFile(
        filename=filename,
        url=url,
        hashes=_hash(fragment),
        requires_python=tag.attributes.get("data-requires-python") or None,
        yanked=tag.attributes.get("data-yanked"),
        has_core_metadata=metadata is not None and metadata.lower() != "false",
        core_metadata_sha256=_hash(metadata or "").get("sha256"),
        provenance_url=_absolute(base, provenance) if provenance else None,
    )


def _hash(text: str) -> dict[str, str]:
    """The digest in `ALGORITHM=HEXADECIMAL`; nothing if the text has another form.

    Raises:
        EntryError: it is a SHA-256 of a wrong length.
    """
    found = next((match for each in text.split("&") if (match := _HASH.fullmatch(each))), None)
    if found is None:
        return {}
    name, digest = found[1].lower(), found[2].lower()
    if name == "sha256" and len(digest) != 64:
        raise EntryError(f"has a SHA-256 of another length than 64 digits: {digest[:70]}")
    return {name: digest}
