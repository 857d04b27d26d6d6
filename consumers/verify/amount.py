"""How much of a verification is done: in units of which each takes about as long, so that the time left can be told.

Each event counts for being read, folded and sealed, and each record of `publications` for itself. A million small
publications take longer than one publication of a million uploads.
"""

from consumers.work.progress import READING, WHOLE, Report

RECORD = 125
"""What a record of `publications` counts for, by experience: half a publication of two uploads, without the uploads."""


class Amount:
    """The amount that is done, reported whenever it grows.

    Args:
        report: called with the amount done and the total.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._size = self._records = self._applied = self._done = 0

    def in_log(self, size: int, records: int) -> None:
        """Both logs have this many records, and `events` is read."""
        self._size, self._records = size, records
        self._tell(READING * size)

    def applied(self, size: int, records: int) -> None:
        """Everything up to these sizes of the logs is verified."""
        self._applied = self._of(size, records)
        self._tell(self._applied)

    def in_window(self, size: int, records: int, share: float) -> None:
        """This share is verified of what leads up to these sizes."""
        self._tell(self._applied + int(share * (self._of(size, records) - self._applied)))

    def in_batch(self, done: int, total: int) -> None:
        """A long batch of a follower goes on (`consumers.work.progress`): the log is read, or a publication is made."""
        size = total // WHOLE
        if not self._size:
            self._report(done, total)
        elif done > READING * size:
            self._tell(self._applied + done - READING * size)

    def _of(self, size: int, records: int) -> int:
        return READING * self._size + (WHOLE - READING) * size + RECORD * records

    def _tell(self, done: int) -> None:
        self._done = max(self._done, done)
        self._report(self._done, max(self._done, self._of(self._size, self._records)))
