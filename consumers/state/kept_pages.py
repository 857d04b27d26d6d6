"""Pages between a state and files: of a long page a state keeps the file, and not what it was made of."""

from collections.abc import Container, Iterable
from typing import NamedTuple

from ledger.state.kept_files import KeptFiles
from ledger.state.store import PageRow
from projections.log.operations import project_key
from projections.metadata.paths import is_json_page, project_of_page
from projections.metadata.targets import Page

KEPT_FROM_BYTES = 32 * 2**10
"""A shorter page stands in the state once more: to read it from there is faster than to open a file."""


class KeptPages(NamedTuple):
    """How a publication's pages are kept: where, the publication's number, and from which length on."""

    kept: KeptFiles
    number: int
    least_bytes: int

    def choose(self, pages: Iterable[Page], filed: Container[str]) -> dict[str, PageRow]:
        """Which pages are kept as files, by their path. Those that were (`filed`, by key) still are: what is stored of
        their chunks counts on it.
        """
        rows = {}
        for page in pages:
            key = project_key(project_of_page(page.path))
            if is_json_page(page.path) and (key in filed or len(page.data) >= self.least_bytes):
                file = f"{self.number}.{page.sha256}.page"
                rows[page.path] = PageRow(key, file, self.kept.mark(page.data), b"")
        return rows

    def put(self, row: PageRow, page: Page) -> str:
        """Put a page beside the others; gives its path. It counts when the store is told (`Store.keep`)."""
        return self.kept.put(row.file, page.data)
