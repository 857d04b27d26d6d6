"""The golden history verified by columns: the same files, verdicts and state as by steps, from wherever it begins."""

import asyncio
from pathlib import Path

import pytest

from consumers.context import Context
from consumers.render.outlets import FileListOutlet
from consumers.service.opening import open_follower
from consumers.verify.columns import Columns
from consumers.work import processes
from ledger.state.comparisons import FileRow, files_after
from tests.client.index import silence
from tests.golden.positions import State, read_state
from tests.golden.records import load
from tests.golden.replay import context_of


def verify(context: Context, name: str, first: int | None) -> tuple[State, list[FileRow], int]:
    """The state at the end of the log, all files ever published, and how many windows there were.

    Args:
        context: the ledger.
        name: of the state.
        first: the publication from which on columns are used; None: never.
    """

    async def run() -> tuple[list[FileRow], int]:
        windows = 0
        async with open_follower(context, name, FileListOutlet()) as opened:
            columns = Columns(opened.follower, opened.store, opened.workers)
            is_more = True
            while is_more:
                number = opened.follower.head.number
                if first is not None and number >= first and await columns.step(lambda _: True, at_least=1):
                    windows += 1
                else:
                    is_more = await opened.follower.step()
            return await opened.store.run(files_after, "", 10**6), windows

    files, windows = asyncio.run(run())
    return read_state(context.state / f"{name}.sqlite"), files, windows


@pytest.mark.parametrize("worth", [0, 10**6], ids=["processes", "one process"])
def test_columns_come_to_what_steps_come_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: int) -> None:
    silence()
    monkeypatch.setattr(processes, "WORTH_ROUNDS", worth)
    golden = load()
    context = context_of(tmp_path / "ledger", golden.events, golden.publications)
    state, files, _ = verify(context, "stepping", None)
    for first in (1, 5, 12):
        found, listed, windows = verify(context, f"columns-{first}", first)
        assert windows
        assert listed == files
        for part, value in state.items():
            assert found[part] == value, part
