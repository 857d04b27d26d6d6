"""Editions: the input of one rendering, and the choice of bins to seal."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from consumers.reading.runs import Shown, Stamp
from projections.index.upload_times import Dated, brackets_of, pack_brackets
from projections.log.prefix import Prefix
from projections.metadata.repository import expires_at, signs_all_bins
from projections.publications import Head
from projections.roles.authority import Authority
from projections.roles.layout import Layout
from schemas.errors import DisagreementError
from schemas.publications import Claim


class DivergenceError(DisagreementError):
    """A valid publication is not what its events make: its signer did not follow the rules."""


class Edition(NamedTuple):
    """The input of a rendering: the repository as of the last of these publications, from the state at `before`, where
    `head` was the last publication.

    Usually there is one publication. With several, the versions between are skipped: `stamps` then names, for each
    signed bin, the publication that signed it last.
    """

    publications: Sequence[Shown]
    head: Head
    before: Prefix
    after: Prefix
    stamps: Mapping[str, Stamp] | None = None

    @property
    def claim(self) -> Claim:
        """The last claim."""
        return self.publications[-1].claim

    @property
    def authority(self) -> Authority:
        """The offline roles of the last claim."""
        return self.publications[-1].authority

    @property
    def shown_before(self) -> int:
        """The content size of the publication before these."""
        return self.head.content_size

    @property
    def content_size(self) -> int:
        """The size up to which the edition shows content."""
        return self.publications[-1].content_size

    @property
    def first(self) -> int:
        """The index of the first event that the edition folds: before the first root no event is for an aggregate."""
        return max(self.shown_before, self.after.first_root_size)

    @property
    def size(self) -> int:
        """The number of events that the edition adds to what is shown."""
        return self.content_size - self.shown_before

    @property
    def old_layout(self) -> Layout | None:
        """The previous layout, if targets move to other bins."""
        was = self.before.authority
        return was.layout if was is not None and was.layout.bits != self.authority.layout.bits else None

    @property
    def renders_all_pages(self) -> bool:
        """Whether every page is rendered anew, because a setting in root that shapes pages has changed."""
        was = self.before.authority
        return was is not None and was.settings.html_pages != self.authority.settings.html_pages

    def brackets(self) -> tuple[bytes, str]:
        """The packed brackets of the edition's publications, and the new time that began with one of them, if any."""
        dated = (Dated(each.content_size, each.claim.time, each.authority.time_from) for each in self.publications)
        brackets, new_time = brackets_of(Dated(self.shown_before, self.head.time, self.head.time_from), dated)
        return pack_brackets(brackets), new_time

    def choice(self) -> "Choice":
        """The bins that the edition seals."""
        layout = self.authority.layout
        if self.stamps is not None:
            stamps = {index: stamp for name, stamp in self.stamps.items() if (index := layout.index(name)) is not None}
            return Choice(layout, stamps)
        claim, settings = self.claim, self.authority.settings
        stamp = Stamp(claim.number, expires_at(claim.time, settings.bin_expiry_seconds))
        if signs_all_bins(self.before.authority, self.authority):
            return Choice(layout, dict.fromkeys(range(layout.count), stamp), stamp)
        renewed = [index for name in claim.renew if (index := layout.index(name)) is not None]
        return Choice(layout, dict.fromkeys(renewed, stamp), stamp)


class Choice(NamedTuple):
    """The bins that an edition seals: those in `stamps`, changed or not; with the stamp `differing`, also all changed
    bins.
    """

    layout: Layout
    stamps: Mapping[int, Stamp]
    differing: Stamp | None = None

    def of(self, bins: Iterable[int]) -> "Choice":
        """The same, reduced to some bins."""
        return self._replace(stamps={index: self.stamps[index] for index in bins if index in self.stamps})

    def visited(self, bins: range, changed: Collection[int]) -> list[int]:
        """The bins to look at among some, in order, given the bins with changes."""
        if len(self.stamps) + len(changed) < len(bins):  # most publications: a few of all bins
            return sorted(index for index in {*self.stamps, *changed} if index in bins)
        return [index for index in bins if index in self.stamps or index in changed]

    def stamp(self, index: int, *, differs: bool) -> Stamp | None:
        """The stamp of a bin if it is sealed, given whether its targets differ from before.

        Raises:
            DivergenceError: the bin differs, but no publication signed it.
        """
        stamp = self.stamps.get(index)
        if stamp is None and differs:
            if self.differing is None:
                raise DivergenceError(f"{self.layout.name(index)} changed, but no publication signed it")
            return self.differing
        return stamp
