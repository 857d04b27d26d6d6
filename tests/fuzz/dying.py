"""A command that dies at one of its effects on a state, without any clean end: `KIND NUMBER HOW COMMAND …`.

KIND is `effect` (any statement that writes, and any file) or `commit` (right behind one). HOW is `kill`, or `term` for
a signal that it can answer.
"""

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from consumers.cli.main import main
from consumers.context import Context
from consumers.limits import LIMITS
from ledger.state.disk import SystemDisk
from ledger.state.file import StateFile
from ledger.state.statements import State

EFFECTS = [(State, "many"), (State, "execute"), (SystemDisk, "put"), (SystemDisk, "delete"), (SystemDisk, "replace")]


def end(how: str) -> None:
    if how == "kill":
        os._exit(9)
    os.kill(os.getpid(), signal.SIGTERM)


def dying(function: Callable[..., Any], is_due: Callable[[], bool], how: str, *, after: bool) -> Callable[..., Any]:
    def effect(*args: Any, **kwargs: Any) -> Any:
        if not after and is_due():
            end(how)
        result = function(*args, **kwargs)
        if after and is_due():
            end(how)
        return result

    return effect


def run() -> None:
    kind, number, how, *arguments = sys.argv[1:]
    calls, due = count(1), int(number)
    is_commit = kind == "commit"
    for owner, name in [(StateFile, "commit")] if is_commit else EFFECTS:
        setattr(owner, name, dying(getattr(owner, name), lambda: next(calls) == due, how, after=is_commit))
    Context.limits = LIMITS._replace(skip_from=4)
    main(arguments)


if __name__ == "__main__":
    run()
