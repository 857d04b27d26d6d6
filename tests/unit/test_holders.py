"""What is withheld of a path that several hold: the names with a SHA-256 one by one, the others by all holders."""

from hashlib import sha256

import pytest

from projections.metadata.holders import Holder, Withholding, holder_of, served_names, withholdings
from projections.metadata.paths import companion_path, hashed_path, plain_path
from projections.metadata.targets import Standing, target_entry

PATH = f"packages/aa/bb/{'c' * 60}/a-b-1.0.tar.gz"


def digest(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def holder(standing: Standing, content: str, rank: int = 0) -> Holder:
    return holder_of(target_entry(PATH, 1, digest(content)), standing, rank)


def withheld(*holders: Holder) -> set[str]:
    """What is withheld: a content for its name with a SHA-256, `plain`, or what stands beside it."""
    words = {hashed_path(PATH, digest(content)): content for content in ("honest", "bad")}
    words |= {plain_path(PATH): "plain"}
    words |= {companion_path(PATH, "metadata"): "metadata", companion_path(PATH, "provenance"): "provenance"}
    return {words[each.path] for each in served_names(PATH, sorted(holders)).values() if each.is_withheld}


BESIDE = {"plain", "metadata", "provenance"}


@pytest.mark.parametrize("standing", ["lists", "has"])
def test_a_twin_cannot_withhold_what_another_holds(standing: Standing) -> None:
    """Whether it claims the same bytes or others, and whether the other lists them or has removed them."""
    assert withheld(holder(standing, "honest"), holder("withholds", "honest", 1)) == set()
    assert withheld(holder(standing, "honest", 1), holder("withholds", "honest")) == set()
    assert withheld(holder(standing, "honest"), holder("withholds", "bad", 1)) == {"bad"}
    assert withheld(holder("withholds", "honest"), holder("withholds", "honest", 1)) == {"honest", *BESIDE}
    assert withheld(holder("withholds", "honest"), holder("withholds", "bad", 1)) == {"honest", "bad", *BESIDE}


def test_the_plain_name_has_the_bytes_that_are_listed() -> None:
    """Not those of a holder who comes first, and has removed them."""
    holders = [holder("has", "bad"), holder("lists", "honest", 1), holder("withholds", "evil", 2)]
    assert served_names(PATH, sorted(holders))[plain_path(PATH)].sha256 == digest("honest")
    holders = [holder("has", "bad"), holder("has", "honest", 1), holder("withholds", "evil", 2)]
    assert served_names(PATH, sorted(holders))[plain_path(PATH)].sha256 == digest("bad")


def test_names_that_nobody_holds_any_more_are_lifted() -> None:
    before, after = [holder("withholds", "bad")], [holder("withholds", "honest")]
    name = hashed_path(PATH, digest("bad"))
    found = {each.path: each for each in withholdings(PATH, before, after)}
    assert found[name] == Withholding(name, False, digest("bad"))
    assert found.keys() == {name, hashed_path(PATH, digest("honest"))}
    assert withholdings(PATH, before, before) == []
    assert withholdings(PATH, [holder("lists", "bad")], [holder("has", "bad")]) == []


def test_of_other_targets_only_the_bytes_are_withheld() -> None:
    name = hashed_path("tools/run", digest("bad"))
    bad = holder_of(target_entry("tools/run", 1, digest("bad")), "withholds")
    assert served_names("tools/run", [bad]) == {name: Withholding(name, True, digest("bad"))}
