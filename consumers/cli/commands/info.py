"""`tuf-ledger info`: where the ledger and its consumers stand."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option, ledger_options
from consumers.cli.shared import open_context, print_json, runs_async
from consumers.context import Context
from consumers.reading.end import prefix_at_end
from consumers.service.opening import RUNNING_NOTE
from consumers.sign.resuming import resumed_above
from consumers.state import records
from consumers.state.furthest import STATES
from consumers.verify.verifier import DIFFERENCES_NOTE
from ledger.clock import SystemClock, from_instant
from ledger.logs import LogError
from ledger.state.errors import StoreError
from ledger.state.store import Store
from projections.log.prefix import NotALedgerError, Prefix
from projections.metadata.repository import expires_at
from projections.roles.authority import Authority, UpgradeNeededError


@click.command()
@ledger_options
@json_option
@runs_async
async def info(*, folder: Path, log: str | None, as_json: bool) -> None:
    """Show identity, log sizes, positions and lag of consumers, expiries, and counts of rejected records.

    \b
    Example:
      tuf-ledger info --ledger my-index --json
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="warning")
    facts = await _collect(context)
    if as_json:
        print_json(facts)
        return
    _print(facts)


async def _collect(context: Context) -> dict[str, Any]:
    logs = context.logs()
    await logs.open()
    try:
        sizes = {"events": await logs.events.size(), "publications": await logs.publications.size()}
    finally:
        await logs.close()
    facts: dict[str, Any] = {"log": context.config.ledger.log, "sizes": sizes, "consumers": {}}
    furthest = -1
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            consumer, prefix = await _consumer(store, sizes)
            facts["consumers"][name] = consumer
            if prefix is not None and consumer["number"] > furthest:
                facts |= await _ledger(store, prefix, consumer)
                furthest = consumer["number"]
        except StoreError:
            continue
        finally:
            await store.close()
    if furthest >= 0:
        facts["held_at"] = await _held_at(context, facts["held_at"])
    if "signer" in facts["consumers"] and (above := resumed_above(context.state)):
        facts["consumers"]["signer"]["resume_above"] = above
    return facts


async def _held_at(context: Context, published: int | None) -> int | None:
    """The size at which signing is held now: no publication covers the hold that stops them."""
    try:
        return (await prefix_at_end(context)).held_at
    except (LogError, NotALedgerError, StoreError, UpgradeNeededError):
        return published  # whoever follows the log says why


async def _consumer(store: Store, sizes: dict[str, int]) -> tuple[dict[str, Any], Prefix | None]:
    position = await store.load_position()
    facts: dict[str, Any] = {
        "running": store.is_locked(),
        "number": position.number if position else 0,
        "size": position.size if position else 0,
        "lag_events": sizes["events"] - (position.size if position else 0),
        "lag_records": max(0, sizes["publications"] - (position.next_record if position else 0)),
    }
    if not facts["running"] and await store.note(RUNNING_NOTE):
        facts["stopped"] = "not cleanly"
    if differences := await store.note(DIFFERENCES_NOTE):
        facts["differences"] = int(differences)
    return facts, None if position is None else await records.load_prefix(store, position.prefix)


async def _ledger(store: Store, prefix: Prefix, consumer: dict[str, Any]) -> dict[str, Any]:
    """What the state that has applied most says of the ledger."""
    published = await store.publication(consumer["number"])
    facts: dict[str, Any] = {
        "judged": [
            {"log": log, "verdict": verdict, "count": count} for log, verdict, count in await store.count_judged()
        ],
        "publications": await store.count_publications(),
        "held_at": prefix.held_at,
    }
    if prefix.ledger is not None:
        facts |= {"ledger": prefix.ledger.digest, "origin": prefix.ledger.origin}
    if published is not None and prefix.authority is not None:
        facts["last"] = {"number": published.number, "time": published.time, "size": published.size}
        layout = prefix.authority.layout
        bins = [expires for name, _, expires, *_ in await store.load_roles() if layout.index(name) is not None]
        facts["expires"] = _expiries(prefix.authority, published.time, bins)
        facts["root"] = prefix.authority.root.version
        facts["bins"] = layout.count
    return facts


def _expiries(authority: Authority, time: str, bins: list[str]) -> dict[str, str]:
    settings = authority.settings
    expiries = {document.role: document.expires for document in authority.documents}
    return expiries | {
        "timestamp": expires_at(time, settings.timestamp_expiry_seconds),
        "snapshot": expires_at(time, settings.snapshot_expiry_seconds),
        "first bin": min(bins, default=""),
    }


def _print(facts: dict[str, Any]) -> None:
    click.echo(f"ledger         {facts.get('origin', 'unknown: no consumer has run here yet')}")
    if "ledger" in facts:
        click.echo(f"identity       {facts['ledger']}")
    click.echo(f"log            {facts['log']}")
    sizes = facts["sizes"]
    click.echo(f"sizes          {sizes['events']} events, {sizes['publications']} records of publications")
    if "last" in facts:
        last = facts["last"]
        click.echo(f"last           publication {last['number']}, {last['size']} events, {last['time']}")
        click.echo(f"offline roles  root {facts['root']}, {facts['bins']} bins")
    if facts.get("held_at") is not None:
        click.echo(f"held           signing is held at size {facts['held_at']}")
    now = SystemClock().now()
    for role, expires in facts.get("expires", {}).items():
        click.echo(f"expires        {role:<10} {expires}{_left(expires, now)}")
    for name, consumer in facts["consumers"].items():
        running = "running" if consumer["running"] else f"stopped {consumer.get('stopped', '')}".strip()
        line = f"{name:<14} {running}, at publication {consumer['number']}, {consumer['lag_events']} events behind"
        if "resume_above" in consumer:
            line += f", resumes above {consumer['resume_above']}"
        if "differences" in consumer:
            line += f", {consumer['differences']} differences found in what is served"
        click.echo(line)
    for each in facts.get("judged", []):
        click.echo(f"{each['verdict']:<14} {each['count']} of {each['log']}")


def _left(expires: str, now: datetime) -> str:
    if not expires:
        return ""
    left = from_instant(expires) - now
    return "  EXPIRED" if left.total_seconds() <= 0 else f"  (in {str(left).partition('.')[0]})"
