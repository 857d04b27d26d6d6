"""Options that choose the events of an incident: `incident open` and `incident amend` share them."""

import functools
from collections.abc import Callable
from typing import Any

import click

from consumers.incidents.incident_selectors import read_selectors

_VALUES = {
    "since": ("TIME", "Events that may have come at a time or later."),
    "until": ("TIME", "Events that may have come at a time or before."),
    "events": ("A..B", "Events from one to another, both included; or one event."),
    "actor": ("ACTOR", "Events by an actor: NAME, KIND:NAME."),
    "credential": ("ID", "Events made with a credential."),
    "publisher": ("ID", "Events by a trusted publisher."),
    "project": ("NAME", "Events about a project."),
    "sha256": ("HEX", "Events about files and other targets with these bytes."),
    "key": ("KEYID", "Events that publications under this online key were the first to show."),
    "late-files": ("DAYS", "Uploads to a release that came so long after its first file."),
    "not": ("KIND=VALUE", "Take away what this selector finds: --not project=alpha."),
}
_FLAGS = {
    "strict": "With --since and --until: only events that surely came then.",
    "unattested": "Uploads without a provenance, where an earlier release of the project had one.",
    "first-use": "The first event of a credential, where no grant of it is before.",
}


def incident_selectors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function gets the selectors as `selectors`."""

    @functools.wraps(function)
    async def selecting(**values: Any) -> None:
        texts: list[str] = []
        for name in _VALUES:
            given = values.pop(_parameter(name))
            texts += [f"not {each}" if name == "not" else f"{name}={each}" for each in given]
        texts += [name for name in _FLAGS if values.pop(_parameter(name))]
        await function(selectors=read_selectors(texts), **values)

    options = [
        click.option(f"--{name}", _parameter(name), multiple=True, metavar=metavar, help=text)
        for name, (metavar, text) in _VALUES.items()
    ]
    options += [click.option(f"--{name}", _parameter(name), is_flag=True, help=text) for name, text in _FLAGS.items()]
    for option in reversed(options):
        selecting = option(selecting)
    return selecting


def _parameter(name: str) -> str:
    return f"select_{name.replace('-', '_')}"
