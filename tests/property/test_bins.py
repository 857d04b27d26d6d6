"""Bins: the same names and the same bins as python-tuf's."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tuf.api.metadata import DelegatedRole, SuccinctRoles

from projections.metadata.bins import Entries, EntryTable
from projections.metadata.repository import bin_payload, bin_targets, signed_file
from projections.metadata.targets import target_entry
from projections.roles.authority import hash_prefixes
from projections.roles.layout import Layout, bin_key

bits_of_succinct = st.integers(1, 16)
bits_of_prefixes = st.integers(1, 8)
target_paths = st.from_regex(r"[a-z~{}@:,]{1,4}", fullmatch=True)
paths = st.from_regex(r"[!-~ ]{1,40}", fullmatch=True)


@pytest.mark.parametrize("bits", range(1, 17))
def test_names_are_those_of_tap_15(bits: int) -> None:
    layout, roles = Layout(bits), SuccinctRoles([], 1, bits, "bin")
    assert layout.count == roles.number_of_bins
    names = list(roles.get_roles())
    assert [layout.name(index) for index in range(layout.count)] == names
    assert [layout.index(name) for name in names] == list(range(layout.count))
    assert names == sorted(names)
    keys = [layout.key(index) for index in range(layout.count)]
    assert keys == sorted(set(keys))


@given(bits_of_succinct, paths)
def test_a_target_is_in_the_bin_where_clients_look_for_it(bits: int, path: str) -> None:
    layout, roles = Layout(bits), SuccinctRoles([], 1, bits, "bin")
    assert layout.name(layout.index_of_target(path)) == roles.get_role_for_target(path)


@given(bits_of_prefixes, paths)
def test_prefixes_delegate_each_target_to_one_bin(bits: int, path: str) -> None:
    """The same bins can be delegated by `path_hash_prefixes` (TUF 1.0.34, section 4.5)."""
    layout = Layout(bits, succinct=False)
    roles = [
        DelegatedRole(
            layout.name(index), [], 1, True, path_hash_prefixes=list(hash_prefixes(layout, index))
        )  # TUF's order
        for index in range(layout.count)
    ]
    assert [role.name for role in roles if role.is_delegated_path(path)] == [layout.name(layout.index_of_target(path))]


@pytest.mark.parametrize("bits", range(1, 9))
def test_prefixes_of_all_bins_are_all_prefixes_of_one_length(bits: int) -> None:
    layout = Layout(bits, succinct=False)
    prefixes = [prefix for index in range(layout.count) for prefix in hash_prefixes(layout, index)]
    digits = len(prefixes[0])
    assert prefixes == [f"{number:0{digits}x}" for number in range(16**digits)]
    assert 16 ** (digits - 1) < layout.count <= 16**digits


@given(
    bits_of_prefixes, st.text(max_size=12) | st.from_regex(r"(bin|bim|bin-bin)?-?-?[0-9a-fA-F]{0,5}", fullmatch=True)
)
def test_only_the_names_of_bins_have_an_index(bits: int, name: str) -> None:
    layout = Layout(bits)
    index = layout.index(name)
    if index is None:
        assert name not in {layout.name(each) for each in range(layout.count)}
    else:
        assert layout.name(index) == name


@pytest.mark.parametrize(
    "name", ["bin-\u0661", "bin-0\n", "bin- 1", "bin-+1", "bin-1_0", "bin--1", "BIN-1", "1", "bin", ""]
)
def test_names_that_python_reads_as_numbers_are_no_bins(name: str) -> None:
    for bits in (4, 8, 12):
        assert Layout(bits).index(name) is None


def test_keys_of_one_number_of_bits_are_together() -> None:
    assert bin_key(4, 15) == Layout(4, "other", succinct=False).key(15)
    keys = [bin_key(bits, index) for bits in range(1, 17) for index in range(1 << bits)]
    assert keys == sorted(set(keys))


@given(st.integers(1, 16), st.integers(1, 1024), st.text(max_size=20))
def test_every_bin_is_in_one_partition_and_targets_are_with_their_bin(bits: int, partitions: int, path: str) -> None:
    layout = Layout(bits)
    assert layout.index_of_target(path) in layout.bins_of(layout.partition_of(path, partitions), partitions)
    borders = [layout.bins_of(partition, partitions) for partition in range(partitions)]
    assert [index for bins in borders for index in bins] == list(range(layout.count))


class RenderedTargetsAreADict(RuleBasedStateMachine):
    """Whatever is looked up and replaced in whichever way, entries are those of a dict, in its order."""

    @initialize()
    def begin(self) -> None:
        self.plain: dict[str, bytes] = {}
        self.rendered = b""

    def stored(self) -> Entries:
        """As they stand in a file: in the middle of what looks like them."""
        others = b'"a":{"hashes":{},"length":1}'
        return Entries(others + self.rendered + others, len(others), len(others) + len(self.rendered))

    @rule(changes=st.dictionaries(target_paths, st.none() | st.integers(0, 2**53), max_size=80), parses=st.booleans())
    def change(self, changes: dict[str, int | None], parses: bool) -> None:
        before = dict(self.plain)
        targets = EntryTable(self.stored(), lookups=1_000 if parses else 1)
        for path, length in changes.items():
            assert targets.get(path) == before.get(path)
            entry = None if length is None else target_entry(path, length, f"{length:064x}")
            targets.set(path, entry)
            assert targets.get(path) == entry
            if entry is None:
                self.plain.pop(path, None)
            else:
                self.plain[path] = entry
        pieces = targets.finish()
        assert (pieces is None) == (self.plain == before)
        if pieces is not None:
            self.rendered = b",".join(pieces)

    @rule(path=target_paths)
    def put_and_take_away(self, path: str) -> None:
        """What is as it was is no change."""
        targets = EntryTable(self.stored(), lookups=2)
        before = targets.get(path)
        targets.set(path, b"something")
        targets.set(path, before)
        assert targets.finish() is None

    @invariant()
    def is_the_same(self) -> None:
        assert self.rendered == b",".join(entry for _, entry in sorted(self.plain.items()))
        assert list(json.loads(b"{%s}" % self.rendered)) == sorted(self.plain)


TestRenderedTargets = RenderedTargetsAreADict.TestCase
TestRenderedTargets.settings = settings(max_examples=100, stateful_step_count=12)


@given(st.dictionaries(target_paths, st.integers(0, 2**53), max_size=80), st.integers(1, 2**53))
def test_targets_return_from_the_file_of_their_bin(targets: dict[str, int], number: int) -> None:
    rendered = [target_entry(path, length, f"{length:064x}") for path, length in sorted(targets.items())]
    file = signed_file(bin_payload(rendered, number, "2030-01-01T00:00:00Z"), {"ab" * 32: "cd" * 64})
    assert bin_targets(file).copy() == b",".join(rendered)
    assert json.loads(file)["signed"]["targets"].keys() == targets.keys()
