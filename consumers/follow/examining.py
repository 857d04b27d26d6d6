"""Finding out what served metadata is that is not the log's, with all that a follower knows of the log."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from hashlib import sha256

from consumers.follow.follower import Follower
from consumers.reading.publications import ValidPublication
from consumers.render.outlets import served_version
from projections.metadata.forgeries import Finding, Logged, advice, classify, expiry_of, numbers_of, older
from projections.metadata.paths import TIMESTAMP
from projections.roles.history import History, PastCeremony

_MOST_KEPT = 16
"""How many publications are kept in memory. One of 65,536 bins takes some tens of megabytes."""


class Examiner:
    """Examines served metadata. Keeps what it has read of the log until the log has grown.

    The words that it finds are those of `projections.metadata.forgeries`, whoever asks.
    """

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self._as_of = (-1, -1)
        self._history = History(())
        self._logged: dict[int, Logged] = {}

    async def examine_timestamp(self, timestamp: bytes | None) -> Finding | None:
        """Find out what a served timestamp is that was read before the log; None if the log has it.

        It may be of a publication that the follower has applied, or of one still to come. Those are judged, not
        rendered, and one that a root voids does not count. A timestamp that cannot be read is not examined.
        """
        version, follower = served_version(timestamp), self.follower
        if timestamp is None or version == 0:
            return None
        coming = None
        if version <= follower.head.number:
            published = await follower.publication(version)
            if published is not None and published.timestamp_sha256 == sha256(timestamp).hexdigest():
                return None
        else:
            found = await _find_coming(version, follower)
            if found is not None and found.timestamp() == timestamp:
                return None
            coming = None if found is None else Logged.of(found.record, found.publication)
        return await self.examine(TIMESTAMP, timestamp, coming)

    async def age(self, timestamp: bytes) -> Finding | None:
        """How old a timestamp of the log is; None if no publication that was applied has replaced it."""
        later = await self.follower.count_publications_above(served_version(timestamp))
        return older(later, expiry_of(timestamp)) if later else None

    async def examine(self, path: str, file: bytes, coming: Logged | None = None) -> Finding:
        """Find out what a served metadata file is whose bytes are not those of the log.

        Args:
            path: its served path.
            file: its bytes.
            coming: the publication of the number that the file states, if the follower has not applied it yet.

        Raises:
            LogError, NotALedgerError, UpgradeNeededError, StoreError: see there.
        """
        history = await self.history()
        logged = {} if coming is None else {coming.number: coming}
        for number in numbers_of(path, file) - logged.keys():
            found = await self._publication(number)
            if found is not None:
                logged[number] = found
        return classify(path, file, history, logged)

    async def history(self) -> History:
        """Who could ever sign, by the whole log."""
        follower = self.follower
        end = await follower.tail.read_known()
        as_of = (end.size, follower.head.number)
        if self._as_of != as_of:
            self._history = History(await _dated(await follower.ceremonies(), follower))
            self._logged.clear()
            self._as_of = as_of
        return self._history

    async def advice(self, finding: Finding) -> str:
        """What to do about a file, as a sentence that names the place in the manual."""
        return advice(finding, await self.history())

    async def _publication(self, number: int) -> Logged | None:
        if number not in self._logged:
            record = await self.follower.read_publication(number)
            if record is None:
                return None
            if len(self._logged) >= _MOST_KEPT:
                self._logged.clear()
            self._logged[number] = record
        return self._logged[number]


async def coming_publications(follower: Follower) -> AsyncGenerator[ValidPublication, None]:
    """The valid publications behind a follower's position, but for those that a root voids. None is applied."""
    reader = follower.reader
    before, end = reader.state, await follower.tail.read_known()
    try:
        while (found := await reader.next()) is not None:
            if not isinstance(found, ValidPublication):
                continue
            voided = end.authority.void_for(found.claim.number, found.digest) if end.authority else None
            if voided is not None:
                reader.void(voided)
                continue
            yield found
            reader.accept(found)
    finally:
        reader.state = before


async def _dated(ceremonies: Sequence[PastCeremony], follower: Follower) -> list[PastCeremony]:
    """The ceremonies with the times of their first publications, applied or still to come."""
    times = {each.index: each.time for each in ceremonies}
    undated = [index for index, time in times.items() if not time]
    if undated:
        async with aclosing(coming_publications(follower)) as coming:
            async for found in coming:
                times.update({index: found.claim.time for index in undated if index < found.claim.size})
                undated = [index for index in undated if not times[index]]
                if not undated:
                    break
    return [PastCeremony(each.index, each.documents, times[each.index]) for each in ceremonies]


async def _find_coming(version: int, follower: Follower) -> ValidPublication | None:
    """The publication of this number behind a follower's position."""
    async with aclosing(coming_publications(follower)) as coming:
        async for found in coming:
            if found.claim.number >= version:
                return found if found.claim.number == version else None
    return None
