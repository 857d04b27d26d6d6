"""What a rehearsal was played of: the story, and by how many days its dates were moved.

A story ends within the last day, so that nothing in its ledger has expired when the team begins. Times of the day stay.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from consumers.incidents.stories.deeds import Story
from ledger.clock import from_instant
from ledger.disk.files import reading, writing
from schemas.errors import NegativeAnswerError

FILENAME = "rehearsal.json"

_DATE = re.compile(r"\b2\d{3}-[01]\d-[0-3]\d(?![\d-])")


class Rehearsal(msgspec.Struct, frozen=True):
    """The name of a story, and how many days later than in the story it was played."""

    story: str
    days: int = 0


def days_until(story: Story, now: datetime) -> int:
    """By how many days a story has to be moved to end within the last 24 hours."""
    return (now - from_instant(story.told_at)) // timedelta(days=1)


def moved(text: str, days: int) -> str:
    """A text in which each date, such as 2024-12-07, is so many days later."""
    return _DATE.sub(lambda found: f"{datetime.fromisoformat(found[0]) + timedelta(days=days):%Y-%m-%d}", text)


def save_rehearsal(folder: Path, rehearsal: Rehearsal) -> None:
    """Write into the folder of a rehearsal what it was played of."""
    path = folder / FILENAME
    with writing(path):
        path.write_bytes(msgspec.json.encode(rehearsal) + b"\n")


def load_rehearsal(folder: Path) -> Rehearsal:
    """The inverse of `save_rehearsal`.

    Raises:
        NegativeAnswerError: the folder is not that of a rehearsal.
    """
    path = folder / FILENAME
    if not path.is_file():
        raise NegativeAnswerError(f"{folder} is no rehearsal: there is no {FILENAME}")
    with reading(path):
        data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=Rehearsal)
    except msgspec.DecodeError as error:
        raise NegativeAnswerError(f"{path} cannot be read: {error}") from error
