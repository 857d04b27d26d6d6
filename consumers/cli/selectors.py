"""Options that select events: `log` and `find` share them."""

import functools
from collections.abc import Callable
from math import isnan
from typing import Any, NamedTuple

import click

from consumers.catalog.asking import Asked
from consumers.catalog.times import between, since, until
from consumers.cli.options import INSTANT
from consumers.cli.shared import Usage
from ledger.catalog.event_rows import Wanted, event_types, is_of_type
from schemas.codec import EVENT_TYPES

MAX_DAYS = 366_000
"""A thousand years."""


class Selection(NamedTuple):
    """What was selected.

    Attributes:
        wanted: which events.
        late_days: how late an upload to a release must be; None: that does not matter.
        publications: the first publication (inclusive) and the last (exclusive; None: there is no last).
    """

    wanted: Wanted
    late_days: float | None
    publications: tuple[int, int | None]

    @property
    def is_narrow(self) -> bool:
        """Whether anything was chosen."""
        return self.late_days is not None or self.wanted != Wanted()

    @property
    def is_of_events(self) -> bool:
        """Whether anything was chosen that publications do not have."""
        same = ("first", "end", "between")
        return self.late_days is not None or self.wanted != Wanted(
            **{name: getattr(self.wanted, name) for name in same}
        )


_OPTIONS = (
    click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of a type: file, file.yanked, …"),
    click.option("--actor", "actors", multiple=True, metavar="ACTOR", help="Only events by an actor: NAME, KIND:NAME."),
    click.option(
        "--credential", "credentials", multiple=True, metavar="ID", help="Only events made with a credential."
    ),
    click.option(
        "--since",
        "since_time",
        type=INSTANT,
        metavar="TIME",
        help="Only what may have come at a time or later.",
    ),
    click.option(
        "--until",
        "until_time",
        type=INSTANT,
        metavar="TIME",
        help="Only what may have come at a time or before.",
    ),
    click.option(
        "--between",
        "numbers",
        nargs=2,
        type=click.IntRange(min=0, max=2**53),
        metavar="P Q",
        help="Only events that publications after P, up to Q, were the first to show.",
    ),
    click.option("--incident", metavar="ID", help="Only events that belong to an incident."),
    click.option("--rejected", is_flag=True, help="Only rejected records."),
    click.option(
        "--late-files",
        "late_days",
        type=click.FloatRange(min=0, max=MAX_DAYS),
        metavar="DAYS",
        help="Only uploads to a release that came so long after its first file.",
    ),
    click.option(
        "--unattested",
        is_flag=True,
        help="Only uploads without a provenance, where an earlier release of the project had one. Nothing verifies it.",
    ),
    click.option(
        "--first-use", is_flag=True, help="Only the first event of a credential, where no grant of it is before."
    ),
)


def selectors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function gets their values as `only`, for `select`."""

    @functools.wraps(function)
    async def selecting(
        *,
        types: tuple[str, ...],
        actors: tuple[str, ...],
        credentials: tuple[str, ...],
        since_time: str | None,
        until_time: str | None,
        numbers: tuple[int, int] | None,
        incident: str | None,
        rejected: bool,
        late_days: float | None,
        unattested: bool,
        first_use: bool,
        asked: Asked,
        **values: Any,
    ) -> None:
        if late_days is not None and isnan(late_days):
            raise Usage("--late-files: name a number of days")
        wanted = Wanted(
            types=types,
            actors=actors,
            credentials=credentials,
            incident=incident,
            rejected=rejected,
            unattested=unattested,
            first_use=first_use,
        )
        if types:
            _check_types(types, {*EVENT_TYPES, *await asked.database.run(event_types)})
        start, stop = 0, None
        if since_time is not None:
            first, start = await asked.database.run(since, since_time)
            wanted = wanted._replace(first=first)
        if until_time is not None:
            end, stop = await asked.database.run(until, until_time)
            wanted = wanted._replace(end=end)
        if numbers is not None:
            if numbers[0] > numbers[1]:
                raise Usage(f"--between {numbers[0]} {numbers[1]}: name the earlier publication first")
            wanted = await asked.database.run(between, asked, wanted, numbers)
            start, stop = max(start, numbers[0] + 1), min(numbers[1] + 1, stop or numbers[1] + 1)
        await function(asked=asked, selection=Selection(wanted, late_days, (start, stop)), **values)

    for option in reversed(_OPTIONS):
        selecting = option(selecting)
    return selecting


def _check_types(wanted: tuple[str, ...], known: set[str]) -> None:
    for each in wanted:
        if not any(is_of_type(name, each) for name in known):
            beginnings = ", ".join(sorted({name.partition(".")[0] for name in EVENT_TYPES}))
            raise Usage(
                f"--type {each}: no type is called that, or begins so. They begin with {beginnings}; docs/rules.md has "
                "all of them"
            )
