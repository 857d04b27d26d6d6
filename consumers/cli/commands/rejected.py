"""`tuf-ledger rejected`: records without effect, and why."""

from pathlib import Path

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option, ledger_options
from consumers.cli.shared import open_context, print_json, runs_async
from consumers.state.furthest import STATES
from ledger.state.errors import StateMissingError, StoreError
from ledger.state.store import JudgedRow, Store
from schemas.errors import NegativeAnswerError

PAGE = 1000


@click.command()
@ledger_options
@click.option("--all", "everything", is_flag=True, help="Also those that were well-formed and changed nothing.")
@json_option
@runs_async
async def rejected(*, folder: Path, log: str | None, everything: bool, as_json: bool) -> None:
    """List the records of both logs that were rejected, with reasons.

    Every follower gives the same list: what a code means is in docs/rules.md.

    \b
    Example:
      tuf-ledger rejected --ledger my-index
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="warning")
    problem: StoreError | None = None
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            if await store.load_position() is not None:
                await _list(store, everything=everything, as_json=as_json)
                return
        except StateMissingError:
            continue
        except StoreError as error:
            problem = error
        finally:
            await store.close()
    if problem is not None:
        raise problem
    raise NegativeAnswerError("no consumer has run here yet: `tuf-ledger publish` or `tuf-ledger run` first")


async def _list(store: Store, *, everything: bool, as_json: bool) -> None:
    verdicts = ["rejected", "no effect"] if everything else ["rejected"]
    after = nothing = ("", -1)
    while rows := await store.judged_page(verdicts, after, PAGE):
        for row in rows:
            _print(row, as_json=as_json)
        after = (rows[-1].log, rows[-1].record)
    if after == nothing and not as_json:
        click.echo("Every record was accepted." if everything else "No record was rejected.")


def _print(row: JudgedRow, *, as_json: bool) -> None:
    if as_json:
        print_json(row._asdict())
        return
    kind = f" {row.kind}" if row.kind else ""
    why = f": {row.detail}" if row.detail else ""
    click.echo(f"{row.log} {row.record}{kind} {row.verdict}, {row.code}{why} (SHA-256 {row.digest[:16]}…)")
