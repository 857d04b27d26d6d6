"""What installers take for one distribution, compared with a plain reading of the tags."""

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.index.distributions import INDEXED_FROM, TakenRow, distribution_key

PARTS = st.lists(st.sampled_from(["py2", "py3", "cp311", "cp312", "none", "abi3"]), min_size=1, max_size=3)
TAGS = st.tuples(PARTS, PARTS, PARTS).map(lambda parts: "-".join(".".join(sorted(set(part))) for part in parts))
SEPARATORS = st.sampled_from(["-", "_", ".", "__", "-."])
WORDS = st.lists(st.from_regex(r"\A[a-z0-9]{1,3}\Z"), min_size=1, max_size=3)


def meet(tags: str, others: str) -> bool:
    pairs = zip(tags.split("-"), others.split("-"), strict=True)
    return all(set(mine.split(".")) & set(other.split(".")) for mine, other in pairs)


@given(
    steps=st.lists(st.tuples(st.booleans(), TAGS), min_size=INDEXED_FROM, max_size=4 * INDEXED_FROM),
    asked=st.lists(TAGS, min_size=1),
)
@settings(max_examples=300)
def test_a_row_of_any_length_knows_what_is_taken(steps: list[tuple[bool, str]], asked: list[str]) -> None:
    row, known = TakenRow(b""), list[str]()
    for number, (frees, tags) in enumerate(steps):
        if not frees:
            row.take(tags)
            known.append(tags)
        elif tags in known:
            row.free(tags, f"{number}")
            known.remove(tags)
        wanted = asked[number % len(asked)]
        assert row.is_taken(wanted) == any(meet(wanted, each) for each in known)
    stored = TakenRow(row.encode() or b"")
    assert [stored.is_taken(tags) for tags in asked] == [any(meet(tags, each) for each in known) for tags in asked]


@given(words=WORDS, separators=st.lists(SEPARATORS, min_size=3, max_size=3), upper=st.booleans())
def test_every_spelling_of_a_project_takes_the_same(words: list[str], separators: list[str], upper: bool) -> None:
    spelled = "".join(word + separator for word, separator in zip(words, separators, strict=False))
    spelled = spelled[: -len(separators[len(words) - 1])]
    key = distribution_key("-".join(words), f"{spelled.upper() if upper else spelled}-1.0.tar.gz")
    assert key == distribution_key("-".join(words), f"{'_'.join(words)}-1.0.0.zip")
    assert key.row == "source:0!1"
