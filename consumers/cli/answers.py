"""Answers about appended events, for people and for machines."""

from collections.abc import Sequence
from typing import ParamSpec

import click

from consumers.cli.shared import plural, print_json
from consumers.produce.appending import Answer
from schemas.errors import NegativeAnswerError

P = ParamSpec("P")


def report_answers(answers: Sequence[Answer], *, as_json: bool) -> None:
    """Print what became of events.

    Raises:
        NegativeAnswerError: one was rejected.
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
        raise NegativeAnswerError(f"{rejected} of {plural(len(answers), 'event')} were rejected")
