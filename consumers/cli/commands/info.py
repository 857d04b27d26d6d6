"""`tuf-ledger info`: where the ledger and its consumers stand."""

import json
from datetime import datetime
from typing import Any

import click

from consumers.cli.answers import held_facts
from consumers.cli.options import on_ledger
from consumers.cli.shared import plural, print_json, progress
from consumers.context import Context
from consumers.follow.known import open_known
from consumers.produce.waiting import describe_held
from consumers.reading.end import prefix_at_end
from consumers.sign.resuming import resumed_above
from consumers.state import notes, records
from ledger.clock import SystemClock, from_instant
from ledger.state import StoreError
from ledger.state.comparisons import count_differences, count_files
from ledger.state.picking import STATES, Furthest
from ledger.state.position import load_note, load_position
from ledger.state.publications import count_publications, load_publication
from ledger.state.roles import load_roles
from ledger.state.store import ReadingStore
from ledger.state.verdicts import count_judged
from projections.metadata.repository import expires_at
from projections.publications import Held, held
from projections.roles.authority import Authority
from schemas.errors import LedgerError, NegativeAnswerError


@click.command()
@on_ledger
async def info(*, context: Context, as_json: bool) -> None:
    """Show the ledger's identity, log sizes, consumers and expiries.

    Also shows how far each consumer lags, and how many records were rejected. The answer comes from the furthest state
    on this machine. Without a state, or with --log, the logs are replayed.

    \b
    Example:
      tuf-ledger info --ledger my-index --json
    """
    facts = await _collect(context)
    if as_json:
        print_json({"ok": True, **facts})
        return
    _print(facts)


async def _collect(context: Context) -> dict[str, Any]:
    logs = context.logs()
    await logs.open()
    try:
        sizes = {"events": await logs.events.size(), "publications": await logs.publications.size()}
    finally:
        await logs.close()
    facts: dict[str, Any] = {"log": context.config.ledger.log, "sizes": sizes, "unchecked": list(logs.unchecked)}
    facts["consumers"] = {} if context.is_elsewhere else await _consumers(context, sizes)
    try:
        with progress("Replaying") as advance:
            async with open_known(context, advance) as known:
                facts |= await _ledger(known)
    except NegativeAnswerError:
        facts["publications"] = 0
    except LedgerError as error:
        facts["problem"] = str(error)
    return facts | await _end(context, facts.get("last", {}).get("content_size", 0))


async def _end(context: Context, shown: int) -> dict[str, Any]:
    """Facts from the end of the events log, given what the last publication shows."""
    try:
        end = await prefix_at_end(context)
    except LedgerError as error:
        return {"problem": str(error)}
    now = held(shown, end)
    facts: dict[str, Any] = {"held_at": None, **held_facts(now)}
    if end.ledger is not None:
        facts |= {"ledger": end.ledger.digest, "origin": end.ledger.origin}
    return facts


async def _consumers(context: Context, sizes: dict[str, int]) -> dict[str, Any]:
    consumers = {}
    for name in STATES:
        store = context.reading_store(name)
        try:
            await store.open()
            consumers[name] = await _consumer(store, sizes)
        except StoreError:
            continue
        finally:
            await store.close()
    if "signer" in consumers and (above := resumed_above(context.state)):
        consumers["signer"]["resume_above"] = above
    return consumers


async def _consumer(store: ReadingStore, sizes: dict[str, int]) -> dict[str, Any]:
    position = await store.run(load_position)
    facts: dict[str, Any] = {
        "running": store.is_locked(),
        "publication": position.number if position else 0,
        "size": position.size if position else 0,
        "lag_events": sizes["events"] - (position.size if position else 0),
        "lag_records": max(0, sizes["publications"] - (position.next_record if position else 0)),
    }
    left_running = await store.run(load_note, notes.RUNNING)
    if left_running and not facts["running"]:
        facts["stopped_cleanly"] = False
    if so_far := await store.run(load_note, notes.ROUND):
        facts["compared"], facts["to_compare"] = json.loads(so_far)
        _, facts["never_compared"] = await store.run(count_files)
        facts["differences_now"], facts["differences_ever"] = await store.run(count_differences)
    return facts


async def _ledger(known: Furthest) -> dict[str, Any]:
    """Facts about the ledger as of its last publication."""
    store, prefix = known.store, await known.store.run(records.load_prefix, known.position.prefix)
    published = await store.run(load_publication, known.position.number)
    facts: dict[str, Any] = {
        "judged": [
            {"log": log, "verdict": verdict, "count": count} for log, verdict, count in await store.run(count_judged)
        ],
        "publications": await store.run(count_publications),
    }
    if published is not None and prefix.authority is not None:
        facts["last"] = {"publication": published.number, "time": published.time, "size": published.size}
        facts["last"]["content_size"] = published.content_size
        layout = prefix.authority.layout
        bins = [expires for name, _, expires, *_ in await store.run(load_roles) if layout.index(name) is not None]
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
        "first_bin": min(bins, default=""),
    }


def _print(facts: dict[str, Any]) -> None:
    click.echo(f"ledger         {facts.get('origin', 'unknown')}")
    if "ledger" in facts:
        click.echo(f"identity       {facts['ledger']}")
    click.echo(f"log            {facts['log']}")
    sizes = facts["sizes"]
    events, published = plural(sizes["events"], "event"), plural(sizes["publications"], "record")
    click.echo(f"sizes          {events}, {published} of publications")
    for what in facts["unchecked"]:
        click.echo(f"unchecked      {what}")
    if "last" in facts:
        last = facts["last"]
        click.echo(f"last           publication {last['publication']}, {plural(last['size'], 'event')}, {last['time']}")
        click.echo(f"offline roles  root {facts['root']}, {plural(facts['bins'], 'bin')}")
    if facts.get("held_at") is not None:
        _, _, what = describe_held(Held(facts["held_at"], facts["waiting"])).partition(" ")
        click.echo(f"held           {what}")
    if "problem" in facts:
        click.echo(f"problem        {facts['problem']}")
    now = SystemClock().now()
    for role, expires in facts.get("expires", {}).items():
        click.echo(f"expires        {role.replace('_', ' '):<10} {expires}{_left(expires, now)}")
    for name, consumer in facts["consumers"].items():
        click.echo(f"{name:<14} {_describe(consumer)}")
    for each in facts.get("judged", []):
        click.echo(f"{each['verdict']:<14} {each['count']} of {each['log']}")


def _describe(consumer: dict[str, Any]) -> str:
    """The position and the lag of a consumer, in words."""
    stopped = "stopped" if consumer.get("stopped_cleanly", True) else "stopped, not cleanly"
    parts = ["running" if consumer["running"] else stopped, f"at publication {consumer['publication']}"]
    lag = consumer["lag_events"]
    if lag >= 0:
        parts.append(f"{plural(lag, 'event')} behind" if lag else "up to date")
    else:
        parts.append(f"ahead of the log by {plural(-lag, 'event')}")
    if "resume_above" in consumer:
        parts.append(f"resumes above {consumer['resume_above']}")
    if "compared" in consumer:
        parts.append(f"{plural(consumer['differences_now'], 'difference')} now, {consumer['differences_ever']} ever")
        parts.append(f"compared {consumer['compared']:,} of {plural(consumer['to_compare'], 'file')}")
        if consumer["never_compared"]:
            parts.append(f"{consumer['never_compared']:,} never yet")
    return ", ".join(parts)


def _left(expires: str, now: datetime) -> str:
    if not expires:
        return ""
    left = from_instant(expires) - now
    return "  EXPIRED" if left.total_seconds() <= 0 else f"  (in {str(left).partition('.')[0]})"
