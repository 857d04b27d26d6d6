"""Answers about appended events, for people and for machines."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import click

from consumers.cli.shared import No, plural, print_json
from consumers.produce.appending import Answer

P = ParamSpec("P")


def wait_options(function: Callable[P, Any]) -> Callable[P, Any]:
    """`--wait` and `--wait-seconds`."""
    for option in (
        click.option(
            "--wait-seconds", default=60.0, show_default=True, metavar="N", help="How long --wait waits.", type=float
        ),
        click.option("--wait", is_flag=True, help="Wait for the publication and say what became of each event."),
    ):
        function = option(function)
    return function


def report_answers(answers: Sequence[Answer], *, as_json: bool) -> None:
    """Print what became of events.

    Raises:
        No: one was rejected.
    """
    for each in answers:
        if as_json:
            print_json(each._asdict())
            continue
        detail = f": {each.detail}" if each.detail else ""
        why = f" ({each.code}{detail})" if each.code else ""
        click.echo(f"{each.label}: {each.verdict}{why}, publication {each.publication}")
    rejected = sum(each.verdict == "rejected" for each in answers)
    if rejected:
        raise No(f"{rejected} of {plural(len(answers), 'event')} were rejected")
