"""Which kind of source a text names."""

from pathlib import Path

from ledger.simple.files_source import FilesSource
from ledger.simple.mirror_source import PAGES, MirrorSource, has_page
from ledger.simple.package_sources import PackageSource, PackageSourceError


def open_source(
    text: str, *, ca_file: Path | None = None, requests: int = 8, cache: Path | None = None
) -> PackageSource:
    """A source to read from: the URL of an index, the folder of a mirror, or a folder of files.

    Args:
        text: what it is called.
        ca_file: see `ledger.http.polite`.
        requests: the most requests at a time.
        cache: the folder where pages of an index on the web are kept; None: nowhere.

    Raises:
        PackageSourceError: it names nothing that can be read.
        ConfigError: it is a URL that cannot be used; or what belongs to it cannot be.
    """
    if text.startswith(("http://", "https://")):
        from ledger.simple.http_source import HttpSource  # noqa: PLC0415  # httpx: imported on demand

        return HttpSource(text, ca_file=ca_file, requests=requests, cache=cache)
    folder = Path(text)
    if not folder.is_dir():
        raise PackageSourceError(f"{text} is neither a URL with http:// or https:// nor a folder")
    for each in (folder, folder / "web"):  # bandersnatch has what it serves in a folder of its own
        if (each / PAGES).is_dir():
            return MirrorSource(each)
    if folder.name == PAGES and has_page(folder):
        raise PackageSourceError(f"{text} has the pages of an index: name the folder that it is in")
    return FilesSource(folder)
