"""Answers about appended events, for people and for machines."""

from collections.abc import Sequence
from typing import Any, NoReturn

import click

from consumers.cli.paging import shown
from consumers.cli.shared import plural, print_json, progress, say
from consumers.context import Context
from consumers.produce.appending import Appended, NewEvent
from consumers.produce.foreseeing import Refusal, foresee, refused
from consumers.produce.waiting import describe_held, wait_for
from consumers.reading.end import held_now
from projections.publications import Held
from schemas.errors import LedgerError, NegativeAnswerError


def held_facts(now: Held | None) -> dict[str, int]:
    """What is held, for machines: nothing if nothing is held."""
    return {} if now is None else {"held_at": now.size, "waiting": now.waiting}


async def tell_held(context: Context, *, as_json: bool) -> dict[str, int]:
    """Say what is held, if anything is and this machine has a state; return the same for machines.

    The events are on the log by now. So a log that cannot be read on is no reason to fail.
    """
    try:
        now = await held_now(context)
    except LedgerError:
        return {}
    if now is not None and not as_json:
        click.echo(
            f"{describe_held(now).capitalize()}. Users get what they got before. `tuf-ledger unhold` releases a hold."
        )
    return held_facts(now)


def print_appended(each: Appended, more: dict[str, Any] | None = None) -> None:
    """Print one appended event as JSON."""
    print_json({"event": each.event, "digest": each.digest, "type": each.of.type, **each.of.names, **(more or {})})


async def wait_and_print(
    context: Context, appended: Sequence[Appended], timeout_seconds: float, *, as_json: bool
) -> int:
    """Wait for the publication of appended events, print the verdict of each, and return how many were rejected.

    Raises:
        HeldError: a hold keeps an event from being shown.
        NotCoveredError: no publication covered the events in time.
    """
    with progress("Waiting") as advance:
        answers = await wait_for(context, appended, timeout_seconds, advance)
    for each in answers:
        if as_json:
            answer = {"verdict": each.verdict, "code": each.code, "why": each.why, "publication": each.publication}
            print_appended(each.appended, answer)
            continue
        why = f" ({each.code}{f': {each.why}' if each.why else ''})" if each.code else ""
        click.echo(f"{each.appended.of.label}: {each.verdict}{why}, publication {each.publication}")
    return sum(each.verdict == "rejected" for each in answers)


def end_list(events: int, rejected: int, *, as_json: bool) -> None:
    """Print the last line of a list of answers.

    Raises:
        NegativeAnswerError: at least one event was rejected.
    """
    if rejected:
        were = "was" if rejected == 1 else "were"
        message = f"{rejected} of {plural(events, 'event')} {were} rejected"
        raise NegativeAnswerError(message, events=events, rejected=rejected)
    if as_json:
        print_json({"ok": True, "events": events, "rejected": 0})


def tell_refused(refusals: Sequence[Refusal], *, as_json: bool) -> None:
    """Print what was refused, and why."""
    for each in refusals:
        if as_json:
            print_json({**each.names, "code": each.code, "why": each.why})
        else:
            say(f"{shown(each.label)}:", shown(each.why))


def refuse(refusals: Sequence[Refusal], *, events: int, as_json: bool) -> NoReturn:
    """Print what was refused, and that so many events were appended all the same.

    Raises:
        NegativeAnswerError: always.
    """
    if as_json or len(refusals) > 1:
        tell_refused(refusals, as_json=as_json)
    what = f"{plural(len(refusals), 'refusal')}, see above"
    if len(refusals) == 1:
        (only,) = refusals
        what = f"{only.label}: {only.why}"
    done = f"{plural(events, 'event')} appended all the same" if events else "Nothing was appended"
    anyway = "; --anyway appends what will be rejected" if any(each.code for each in refusals) else ""
    raise NegativeAnswerError(f"{what.removesuffix('.')}. {done}{anyway}", events=events, refused=len(refusals))


async def find_rejected(context: Context, events: Sequence[NewEvent]) -> list[Refusal]:
    """The events that will be rejected, as far as this machine knows."""
    outcomes = await foresee(context, events)
    return [refusal for each in zip(events, outcomes, strict=True) if (refusal := refused(*each))]


async def report(
    context: Context,
    appended: Sequence[Appended],
    *,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
    is_end: bool = True,
) -> None:
    """Print the appended events; with `wait`, also wait for their verdicts and print them. `is_end`: nothing follows.

    Raises:
        NegativeAnswerError: at least one event was rejected.
        HeldError: a hold keeps an event from being shown.
        NotCoveredError: no publication covered the events in time.
    """
    if wait:
        rejected = await wait_and_print(context, appended, wait_seconds, as_json=as_json)
        end_list(len(appended), rejected, as_json=as_json and is_end)
        return
    for each in appended:
        if as_json:
            print_appended(each)
        else:
            click.echo(f"Appended {each.of.label} as event {each.event}.")
    facts = await tell_held(context, as_json=as_json)
    if as_json and is_end:
        print_json({"ok": True, "events": len(appended), **facts})
