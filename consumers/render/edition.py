"""What a publication is to be rendered of, and which bins it seals."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from consumers.reading.runs import Stamp
from projections.log.prefix import Prefix
from projections.metadata.repository import expires_at, signs_all_bins
from projections.roles.authority import Authority
from projections.roles.layout import Layout
from schemas.errors import DisagreementError
from schemas.publications import Claim


class DivergenceError(DisagreementError):
    """A valid publication is not what its events make: whoever signed it did not follow the rules."""


class Edition(NamedTuple):
    """What to render: the repository of the last of these claims, from the state at `before`.

    One claim is the usual case. With several, the versions between are skipped: `stamps` then says which publication
    last signed each bin that any of them signed.
    """

    claims: Sequence[tuple[Claim, Authority]]
    before: Prefix
    after: Prefix
    stamps: Mapping[str, Stamp] | None = None

    @property
    def claim(self) -> Claim:
        """The last claim."""
        return self.claims[-1][0]

    @property
    def authority(self) -> Authority:
        """The offline roles under which it is rendered."""
        return self.claims[-1][1]

    @property
    def size(self) -> int:
        """How many events it adds."""
        return self.after.size - self.before.size

    @property
    def old_layout(self) -> Layout | None:
        """The layout before, if targets have to move to other bins."""
        was = self.before.authority
        return was.layout if was is not None and was.layout.bits != self.authority.layout.bits else None

    @property
    def renders_all_pages(self) -> bool:
        """Whether every page is rendered anew: a setting in root that shapes them has changed."""
        was = self.before.authority
        return was is not None and was.settings.html_pages != self.authority.settings.html_pages

    def choice(self) -> "Choice":
        """Which bins it seals."""
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
    """Which bins an edition seals: those with a stamp, whatever is in them; and if there is a stamp for what differs,
    those in which something does.
    """

    layout: Layout
    stamps: Mapping[int, Stamp]
    differing: Stamp | None = None

    def of(self, bins: Iterable[int]) -> "Choice":
        """As far as it concerns some bins."""
        return self._replace(stamps={index: self.stamps[index] for index in bins if index in self.stamps})

    def visited(self, bins: Iterable[int], changed: Container[int]) -> list[int]:
        """The bins to look at among some, in order, given those that changes are about."""
        return [index for index in bins if index in self.stamps or index in changed]

    def stamp(self, index: int, *, differs: bool) -> Stamp | None:
        """Number and expiry of a bin if it is to be sealed, given whether its targets differ from before.

        Raises:
            DivergenceError: it differs, and no publication signed it.
        """
        stamp = self.stamps.get(index)
        if stamp is None and differs:
            if self.differing is None:
                raise DivergenceError(f"{self.layout.name(index)} changed, but no publication signed it")
            return self.differing
        return stamp
