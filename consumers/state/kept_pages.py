"""The pages of a state: a long page is kept as its file, and its chunks' bodies are not stored again."""

from collections.abc import Container, Iterable
from typing import NamedTuple

from ledger.state.aggregates import PageRow
from ledger.state.kept_files import KeptFiles
from projections.log.operations import project_key
from projections.metadata.paths import is_json_page, project_of_page
from projections.metadata.targets import Page


class KeptPages(NamedTuple):
    """How a publication's pages are kept: the folder, the publication's number, and the minimum length."""

    kept: KeptFiles
    number: int
    least_bytes: int

    def choose(self, pages: Iterable[Page], filed: Container[str]) -> dict[str, PageRow]:
        """The pages to keep as files, by path. Pages that already are files (`filed`, by key) stay files: their stored
        chunks depend on it.
        """
        rows = {}
        for page in pages:
            key = project_key(project_of_page(page.path))
            if is_json_page(page.path) and (key in filed or len(page.data) >= self.least_bytes):
                file = f"{self.number}.{page.sha256}.page"
                rows[page.path] = PageRow(key, file, self.kept.mark(page.data), b"")
        return rows

    def put(self, row: PageRow, page: Page) -> str:
        """Keep a page, and return its path. The page counts after `Store.keep`."""
        return self.kept.put(row.file, page.data)
