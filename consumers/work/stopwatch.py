"""Durations of the phases of a publication, for the log and for benchmarks."""

from time import perf_counter


class Stopwatch:
    """Seconds by phase. `lap` ends a phase; the next begins there."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._since = perf_counter()

    def start(self) -> None:
        """Begin a phase now: the time before belongs to no phase."""
        self._since = perf_counter()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap, or since `start`, to a phase."""
        now = perf_counter()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def take(self) -> dict[str, float]:
        """Seconds by phase, as `PHASE_seconds`; then begin anew."""
        seconds = {f"{phase}_seconds": round(value, 4) for phase, value in self._seconds.items()}
        self._seconds = {}
        return seconds
