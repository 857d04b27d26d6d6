"""What differs between the metadata of two repositories, whoever made them. Nobody knows the causes.

Signatures are not checked. Roles are compared one after the other, so only two files are in memory at a time.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from consumers.catalog.differing import TargetDifference
from consumers.catalog.remaking import ListedTarget
from consumers.reading.trees import TOP_LEVEL, MetadataFile, MetadataTree, read_signed
from projections.metadata.facts import Fact, FactChange, FactsError, compare_facts, facts_of


class RoleDifference(NamedTuple):
    """What differs between two files of a role."""

    role: str
    facts: list[FactChange]
    targets: list[TargetDifference]


def role_differences(before: MetadataTree, after: MetadataTree) -> Iterator[RoleDifference]:
    """What differs, role by role: the top-level roles first, then all that the two snapshots list, by name.

    Raises:
        StorageError, FactsError: a file cannot be read, or is no metadata.
    """
    for role in TOP_LEVEL[:3]:
        yield from _compare(role, before.current(role), after.current(role))
    versions = before.versions(), after.versions()
    for role in sorted(versions[0].keys() | versions[1].keys(), key=lambda role: (role != "targets", role)):
        files = [
            tree.find(role, listed[role]) if role in listed else None
            for tree, listed in zip((before, after), versions, strict=True)
        ]
        yield from _compare(role, *files)


def _compare(role: str, before: MetadataFile | None, after: MetadataFile | None) -> Iterator[RoleDifference]:
    if before is not None and after is not None and before.data == after.data:
        return
    signed = [None if file is None else read_signed(file) for file in (before, after)]
    facts = [{} if each is None else facts_of(role, each) for each in signed]
    targets = [{} if each is None else _targets(role, each.get("targets") or {}) for each in signed]
    found = RoleDifference(role, compare_facts(*facts), _compare_targets(*targets))
    if before is None or after is None:
        changes = [each for each in found.facts if each.fact == Fact(role, "version")]
        found = found._replace(facts=changes)
    if found.facts or found.targets:
        yield found


def _compare_targets(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[TargetDifference]:
    return [
        TargetDifference(path, _listed(path, before.get(path)), _listed(path, after.get(path)), ())
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _targets(role: str, targets: Any) -> Mapping[str, Any]:
    if not isinstance(targets, dict):
        raise FactsError(f"{role}: its targets are no object")
    return targets


def _listed(path: str, said: Any) -> ListedTarget | None:
    if said is None:
        return None
    hashes = said.get("hashes") if isinstance(said, dict) else None
    length = said.get("length") if isinstance(said, dict) else None
    if not isinstance(hashes, dict) or type(length) is not int:
        raise FactsError(f"the target {path[:100]!r} has no length or no hashes")
    names = sorted(hashes, key=lambda name: (name != "sha256", name))
    digest = hashes[names[0]] if names else "none"
    if not isinstance(digest, str):
        raise FactsError(f"the target {path[:100]!r} has a hash that is no text")
    return ListedTarget(path, length, digest)
