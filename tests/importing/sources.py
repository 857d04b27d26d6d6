"""Sources for tests: the recorded pages as a mirror's folder, with what stands beside files."""

import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

RECORDED = Path(__file__).parent / "pages"
HOST = "https://files.example.org"

Page = dict[str, Any]


def recorded() -> dict[str, Page]:
    """The recorded pages by normalised name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDED.glob("*.json"))}


def beside(filename: str, what: str) -> bytes:
    """What stands beside a made-up file."""
    return f"{what} of {filename}".encode()


def write_mirror(folder: Path, pages: dict[str, Page], *, html: bool = False, host: str = HOST) -> Path:
    """Write pages as a mirror does, and what is beside the files; the files themselves are not there.

    `host` is where files are said to be.
    """
    for name, page in pages.items():
        place = folder / "simple" / name
        place.mkdir(parents=True, exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        for entry in page["files"]:
            path = folder / unquote(urlsplit(entry["url"]).path).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            for what, key in (
                ("metadata", "core-metadata"),
                ("metadata", "data-dist-info-metadata"),
                ("provenance",) * 2,
            ):
                if entry.get(key):
                    path.with_name(f"{path.name}.{what}").write_bytes(beside(entry["filename"], what))
        written = html_of(page) if html else json.dumps(page)
        (place / ("index.html" if html else "index.json")).write_text(written.replace(HOST, host), encoding="utf-8")
    listed = {"meta": {"api-version": "1.4"}, "projects": [{"name": page["name"]} for page in pages.values()]}
    (folder / "simple/index.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


def html_of(page: Page) -> str:
    """A page in the form of PEP 503, with the attributes that there are in it."""
    lines = ["<!DOCTYPE html><html><head>"]
    status = page.get("project-status", {})
    for key, name in (("status", "pypi:project-status"), ("reason", "pypi:project-status-reason")):
        if key in status:
            lines.append(f'<meta name="{name}" content="{escape(status[key])}">')
    lines.append("</head><body>")
    for entry in page["files"]:
        attributes = [f'href="{entry["url"]}#sha256={entry["hashes"]["sha256"]}"']
        if entry.get("requires-python"):
            attributes.append(f'data-requires-python="{escape(entry["requires-python"])}"')
        if entry.get("yanked"):
            reason = entry["yanked"] if isinstance(entry["yanked"], str) else ""
            attributes.append(f'data-yanked="{escape(reason)}"')
        metadata = entry.get("core-metadata", entry.get("data-dist-info-metadata"))
        if metadata:
            said = f"sha256={metadata['sha256']}" if isinstance(metadata, dict) else "true"
            attributes.append(f'data-core-metadata="{said}"')
        if entry.get("provenance"):
            attributes.append(f'data-provenance="{entry["provenance"]}"')
        lines.append(f"<a {' '.join(attributes)}>{escape(entry['filename'])}</a><br>")
    return "\n".join([*lines, "</body></html>"])


def real_file(name: str, content: bytes, **attributes: Any) -> tuple[Page, bytes]:
    """An entry of a page, and the content that it is about."""
    blake2b = hashlib.blake2b(content, digest_size=32).hexdigest()
    return {
        "filename": name,
        "url": f"{HOST}/packages/{blake2b[:2]}/{blake2b[2:4]}/{blake2b[4:]}/{name}",
        "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
        "size": len(content),
        "upload-time": "2020-01-02T03:04:05.678901Z",
        "yanked": False,
        **attributes,
    }, content
