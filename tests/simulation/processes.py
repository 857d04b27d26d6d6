"""Processes that take turns. Every port call is a place where another process may go on, and where this one may die.

A process is a greenlet, so that it can be left in the middle of anything, synchronous code too, and gone on with later
or never. Nothing runs at the same time: given the same seeds, everything happens again in the same order.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from greenlet import greenlet  # type: ignore[import-untyped]  # it comes with sqlalchemy[asyncio]

R = TypeVar("R")
How = Literal["before", "after", "error before", "error after", "late"]
"""A process dies before or after the effect of a call; or the call fails, without or with its effect; or it dies, and
its effect comes later (appends only: a request that was on its way)."""


class Crash(BaseException):
    """The process is dead. None of its code may have any effect from now on."""


class Fault(NamedTuple):
    """Where a life of a process goes wrong. Calls are numbered from 1 in every life."""

    process: str
    life: int
    call: int
    how: How


class Host(Protocol):
    """The world as a process sees it."""

    def observe(self, process: "Process", label: str, when: str) -> None:
        """A process stands at a port call, `before` its effect or `after`."""

    def wants_to_interleave(self, process: "Process") -> bool:
        """Whether a process is to give its turn away at this call."""


class Process:
    """One life of one process. `enter` and `leave` stand around the effect of every port call."""

    def __init__(self, world: Host, name: str, life: int, fault: Fault | None) -> None:
        self.name = name
        self.life = life
        self.calls = 0
        self.alive = True
        self.faulted = False
        self.error: BaseException | None = None
        self.sealing = ""
        self._world = world
        self._fault = fault
        self._late = False
        self._wanted: Callable[[], bool] | None = None
        self._runner: greenlet | None = None

    def __repr__(self) -> str:
        return f"{self.name}#{self.life}"

    # --- port calls ----------------------------------------------------------------------------------------------

    def enter(self, label: str, error: Callable[[str], Exception] | None = None) -> None:
        """Before the effect of a call. `error` makes what the port raises when it fails, of a message."""
        self._check_alive()
        self._pause()
        self.calls += 1
        self._world.observe(self, label, "before")
        if self._is_due("before"):
            self.die()
        if self._is_due("error before") and error is not None:
            self.faulted = True
            raise error(f"injected: {label} fails without effect")
        self._late = self._is_due("late") and label.endswith(".append")

    def leave(self, label: str, error: Callable[[str], Exception] | None = None) -> None:
        """After the effect."""
        self._check_alive()
        self._world.observe(self, label, "after")
        if self._is_due("after") or self._late:
            self.die()
        if self._is_due("error after") and error is not None:
            self.faulted = True
            raise error(f"injected: {label} fails with effect")

    @property
    def is_late(self) -> bool:
        """Whether the effect of this call is to come later."""
        return self._late

    def die(self) -> None:
        """End here."""
        self.faulted = True
        self.alive = False
        raise Crash(repr(self))

    def _check_alive(self) -> None:
        if not self.alive:
            raise Crash(f"{self} is dead and went on")

    def _is_due(self, how: How) -> bool:
        fault = self._fault
        return fault is not None and fault.call == self.calls and fault.how == how

    # --- taking turns --------------------------------------------------------------------------------------------

    def wait(self, wanted: Callable[[], bool]) -> None:
        """Let others go on until something holds, or until the world wakes everyone: a time has passed."""
        self._wanted = wanted
        self._switch()
        self._wanted = None

    def wake(self) -> None:
        """The time passed for which it waited."""
        self._wanted = None

    @property
    def is_runnable(self) -> bool:
        """Whether it has anything to do."""
        return self._runner is not None and not self._runner.dead and (self._wanted is None or self._wanted())

    @property
    def is_over(self) -> bool:
        """Whether it has ended in any way."""
        return self._runner is not None and self._runner.dead

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Make it runnable."""

        def body() -> None:
            try:
                run(main())
            except Crash as crash:
                self.error = crash
            except Exception as error:  # noqa: BLE001  # the world judges whether it may end like this
                self.error = error

        self._runner = greenlet(body)

    def go_on(self) -> None:
        """Let it run until it gives its turn away or ends."""
        if self._runner is None:
            raise RuntimeError("not started")
        self._runner.switch()

    def kill(self) -> None:
        """End it where it stands, if it stands anywhere: its world is over."""
        self.alive = False
        if self._runner:
            self._runner.throw(Crash(repr(self)))

    def _pause(self) -> None:
        if self._runner is not None and self._world.wants_to_interleave(self):
            self._switch()
            self._check_alive()

    def _switch(self) -> None:
        if self._runner is None or self._runner.parent is None:
            raise RuntimeError("not in its greenlet")
        self._runner.parent.switch()


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    raise RuntimeError("a coroutine waits for an event loop")
