"""How much is done at once, and how much is kept in memory: values that shape no byte of what is published."""

from typing import NamedTuple

from projections.index.pages import FILES_PER_CHUNK
from projections.index.project_list import NAMES_PER_CHUNK


class Limits(NamedTuple):
    """The limits of a follower, or of a replay. They are given where one is made.

    `skip_from`: the number of unread publications from which a follower that may skip versions does so.

    `items_per_partition`: events, or changes of targets, that are held in memory at a time. `buffered_items`: those
    that are written to the disk together where there are more.

    `projects_at_once`, `bins_at_once`: aggregates that one process loads, folds and saves together.

    `tail_bytes`: the part of the log's tail that is kept in memory. Decoded records take about as much as encoded ones.
    `tail_signing`: events about signing that are kept there, before they are stored ahead of the position.

    `page_bytes`: the length from which a page is kept as a file. A shorter one is also stored in the state file:
    reading it there is faster than opening a file.

    `files_per_chunk`, `names_per_chunk`: how many entries the chunks of pages and of the list of projects have at most.
    """

    skip_from: int = 16
    items_per_partition: int = 20_000
    buffered_items: int = 256
    projects_at_once: int = 16
    bins_at_once: int = 16
    tail_bytes: int = 16 * 2**20
    tail_signing: int = 20_000
    page_bytes: int = 32 * 2**10
    files_per_chunk: int = FILES_PER_CHUNK
    names_per_chunk: int = NAMES_PER_CHUNK


LIMITS = Limits()
