"""`tuf-ledger token`: who may append events over HTTP."""

from typing import ClassVar

import click

from consumers.cli.groups import Groups, LazyGroup


class Token(LazyGroup):
    """The commands of tokens."""

    groups: ClassVar[Groups] = {"Make": {"new": "token_new:new"}}


@click.group(cls=Token)
def token() -> None:
    """Give tokens to producers, who append events at `POST /events` of a gateway.

    A token is revoked by deleting its line from the file that `[gateway] producers` names.
    """
