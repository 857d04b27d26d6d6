"""Commands that are told to end."""

import asyncio
import os
import signal

import pytest

from consumers.cli.shared import runs_async


def test_sigterm_ends_a_command_in_order() -> None:
    given_up = []

    @runs_async
    async def command() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            given_up.append(True)

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 128 + signal.SIGTERM
    assert given_up
