"""Answers about appended events, for people and for machines."""

from collections.abc import Sequence
from typing import Any

import click

from consumers.cli.shared import plural, print_json, progress
from consumers.context import Context
from consumers.produce.appending import Appended
from consumers.produce.waiting import wait_for
from schemas.errors import NegativeAnswerError


def print_appended(each: Appended, more: dict[str, Any] | None = None) -> None:
    """Print one appended event as JSON."""
    print_json({"event": each.event, "digest": each.digest, "type": each.of.type, **each.of.names, **(more or {})})


async def wait_and_print(
    context: Context, appended: Sequence[Appended], timeout_seconds: float, *, as_json: bool
) -> int:
    """Wait for the publication of appended events, print the verdict of each, and return how many were rejected.

    Raises:
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


async def report(
    context: Context, appended: Sequence[Appended], *, wait: bool, wait_seconds: float, as_json: bool
) -> None:
    """Print the appended events; with `wait`, also wait for their verdicts and print them.

    Raises:
        NegativeAnswerError: at least one event was rejected.
        NotCoveredError: no publication covered the events in time.
    """
    if wait:
        rejected = await wait_and_print(context, appended, wait_seconds, as_json=as_json)
        end_list(len(appended), rejected, as_json=as_json)
        return
    for each in appended:
        if as_json:
            print_appended(each)
        else:
            click.echo(f"Appended {each.of.label} as event {each.event}.")
    if as_json:
        print_json({"ok": True, "events": len(appended)})
