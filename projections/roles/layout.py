"""The layout of bins: their number, their names, and the bin of each target.

The leading bits of the SHA-256 of a target's path say which bin the target is in (TAP 15). The same bins can be
delegated by `path_hash_prefixes` (TUF 1.0.34, section 4.5).
"""

from hashlib import sha256

import msgspec


class Layout(msgspec.Struct, frozen=True):
    """A layout: 2^`bits` bins with the names `prefix`-`index in hexadecimal` (TAP 15).

    The bins are delegated by succinct roles, or by path hash prefixes.
    """

    bits: int
    prefix: str = "bin"
    succinct: bool = True

    @property
    def count(self) -> int:
        """Number of bins."""
        return 1 << self.bits

    def name(self, index: int) -> str:
        """The role name of a bin."""
        return f"{self.prefix}-{index:0{self._digits}x}"

    def index(self, name: str) -> int | None:
        """The index of a bin by its role name, or None if the layout has no bin of that name."""
        prefix, _, suffix = name.rpartition("-")
        if prefix != self.prefix or len(suffix) != self._digits or suffix.strip("0123456789abcdef"):
            return None
        index = int(suffix, 16)
        return index if index < self.count else None

    def index_of_target(self, path: str) -> int:
        """The index of the bin that a target path belongs to."""
        return int.from_bytes(sha256(path.encode()).digest()[:4], "big") >> (32 - self.bits)

    def partition_of(self, path: str, partitions: int) -> int:
        """The index of the partition that a target path belongs to. Each partition consists of neighbouring bins."""
        return self.index_of_target(path) * partitions >> self.bits

    def bins_of(self, partition: int, partitions: int) -> range:
        """The bins of a partition; the inverse of `partition_of`."""
        first, last = (-(-(at << self.bits) // partitions) for at in (partition, partition + 1))
        return range(first, last)

    def key(self, index: int) -> str:
        """The key under which a bin is stored."""
        return bin_key(self.bits, index)

    @property
    def _digits(self) -> int:
        return max(1, -(-self.bits // 4))


def bin_key(bits: int, index: int) -> str:
    """The key under which a bin is stored. Keys with the same number of bits sort by index."""
    return f"bin:{bits:02}:{index:05x}"
