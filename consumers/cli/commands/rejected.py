"""`tuf-ledger rejected`: rejected records, with reasons."""

import click

from consumers.cli.options import on_ledger
from consumers.cli.shared import print_json, progress
from consumers.context import Context
from consumers.follow.known import open_known
from ledger.state.store import ReadingStore
from ledger.state.verdicts import JudgedRow, load_judged_after

PAGE = 1000


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also list well-formed records that changed nothing.")
@on_ledger
async def rejected(*, context: Context, everything: bool, as_json: bool) -> None:
    """List the rejected records of both logs, with reasons.

    Every follower gives the same list. docs/rules.md explains each code. The answer comes from the furthest state on
    this machine. Without a state, or with --log, the logs are replayed.

    \b
    Example:
      tuf-ledger rejected --ledger my-index
    """
    with progress("Replaying") as advance:
        async with open_known(context, advance) as known:
            count = await _list(known.store, everything=everything, as_json=as_json)
    if as_json:
        print_json({"ok": True, "records": count, "publication": known.position.number})
    elif not count:
        click.echo("Every record was accepted." if everything else "No record was rejected.")


async def _list(store: ReadingStore, *, everything: bool, as_json: bool) -> int:
    verdicts = ["rejected", "no effect"] if everything else ["rejected"]
    after, count = ("", -1), 0
    while rows := await store.run(load_judged_after, verdicts, after, PAGE):
        for row in rows:
            _print(row, as_json=as_json)
        after, count = (rows[-1].log, rows[-1].record), count + len(rows)
    return count


def _print(row: JudgedRow, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "log": row.log,
                "record": row.record,
                "digest": row.digest,
                "type": row.kind,
                "verdict": row.verdict,
                "code": row.code,
                "why": row.detail,
            }
        )
        return
    kind = f" {row.kind}" if row.kind else ""
    why = f": {row.detail}" if row.detail else ""
    click.echo(f"{row.log} {row.record}{kind} {row.verdict}, {row.code}{why} (SHA-256 {row.digest[:16]}…)")
