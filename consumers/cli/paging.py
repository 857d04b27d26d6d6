"""Output of any length for people: through a pager on a terminal, and with nothing in it that a terminal obeys."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from consumers.cli.shared import print_json

T = TypeVar("T")


def shown(text: str) -> str:
    """A text of a log, in one line, without characters that a terminal would obey."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


async def print_lines(lines: AsyncIterator[str]) -> None:
    """Print lines as they come; on a terminal through the user's pager, which shows the first page at once.

    `less` ends by itself if everything fits on the screen. When the user leaves the pager, nothing more is asked for.
    """
    if not sys.stdout.isatty():
        async for line in lines:
            click.echo(line)
        return
    os.environ.setdefault("LESS", "FRX")
    loop = asyncio.get_running_loop()

    def pulled() -> Iterator[str]:
        while True:
            line = asyncio.run_coroutine_threadsafe(_next(lines), loop).result()
            if line is None:
                return
            yield f"{line}\n"

    await asyncio.to_thread(click.echo_via_pager, pulled())


async def print_found(
    found: AsyncIterator[T],
    to_json: Callable[[T], Any],
    to_lines: Callable[[T], Iterable[str]],
    *,
    as_json: bool,
) -> int:
    """Print what is found, as it comes: JSON lines, or lines for people. If nothing is, no pager is shown.

    Returns:
        How many were found; for people only whether any was, since they may leave the pager at any time.
    """
    if as_json:
        count = 0
        async for each in found:
            print_json(to_json(each))
            count += 1
        return count
    first = await anext(found, None)
    if first is None:
        return 0

    async def lines() -> AsyncIterator[str]:
        for line in to_lines(first):
            yield line
        async for each in found:
            for line in to_lines(each):
                yield line

    await print_lines(lines())
    return 1


async def listed(items: Iterable[T]) -> AsyncIterator[T]:
    """What is there already, as what comes."""
    for each in items:
        yield each


async def limited(items: AsyncIterator[T], limit: int | None) -> AsyncIterator[T]:
    """At most so many of what comes."""
    count = 0
    async for each in items:
        yield each
        count += 1
        if count == limit:
            return


async def _next(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)
