"""What TUF metadata says of roles, as facts that can be compared: keys, thresholds, expiries, settings, delegations.

Metadata may be of any repository, not only of a ledger, and a stranger may have chosen every byte.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

from schemas import canonical
from schemas.errors import LedgerError

_NO_FACTS = frozenset({"_type", "version", "expires", "keys", "roles", "delegations", "targets", "meta"})
"""Members that are no facts, or become facts of another form."""

_MOST_BITS = 32


class FactsError(LedgerError):
    """Metadata has not the form that TUF gives it."""


class Fact(NamedTuple):
    """What is said, and of which role. `name` is a key id, or the name of a setting.

    `what` is one of `version`, `expires`, `key`, `threshold`, `setting`, `delegates`, `paths`, `bins`, `terminating`.
    """

    role: str
    what: str
    name: str = ""


class FactChange(NamedTuple):
    """A fact that differs. None: it is not said. `event` is the index of the event that changed it, if it is known."""

    fact: Fact
    before: Any
    after: Any
    event: int | None = None


def compare_facts(before: Mapping[Fact, Any], after: Mapping[Fact, Any]) -> list[FactChange]:
    """The facts that differ, in a fixed order."""
    names = sorted(before.keys() | after.keys())
    return [
        FactChange(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    ]


def facts_of(role: str, signed: Mapping[str, Any]) -> dict[Fact, Any]:
    """The facts that a role's metadata states, given what its signatures cover.

    Raises:
        FactsError: it has not the form that TUF gives it.
    """
    try:
        return dict(_facts(role, signed))
    except FactsError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise FactsError(f"{role}: this is no TUF metadata ({type(error).__name__}: {error})") from error


def _facts(role: str, signed: Mapping[str, Any]) -> Iterator[tuple[Fact, Any]]:
    yield Fact(role, "version"), _number(signed["version"])
    yield Fact(role, "expires"), _text(signed["expires"])
    for name, value in signed.items():
        if name.startswith("x-") and isinstance(value, dict):
            for member, each in value.items():
                yield Fact(role, "setting", member), each
        elif name not in _NO_FACTS:
            yield Fact(role, "setting", name), value
    if role == "root":
        keys = _keys(signed["keys"])
        for name, each in signed["roles"].items():
            yield from _delegate(_text(name), each, keys)
    elif signed.get("delegations") is not None:
        yield from _delegations(role, signed["delegations"])


def _delegations(role: str, delegations: Mapping[str, Any]) -> Iterator[tuple[Fact, Any]]:
    keys = _keys(delegations["keys"])
    succinct = delegations.get("succinct_roles")
    if succinct is not None:
        name, bits = f"{_text(succinct['name_prefix'])}-*", _number(succinct["bit_length"])
        if bits > _MOST_BITS:
            raise FactsError(f"{role}: more bins than 2^{_MOST_BITS}")
        yield Fact(role, "delegates"), [name]
        yield from _delegate(name, succinct, keys)
        yield Fact(name, "bins"), 1 << bits
        return
    names = []
    for (name, *_), group in groupby(delegations.get("roles") or (), _group_of):
        first, *others = group
        names.append(name)
        yield from _delegate(name, first, keys)
        if first.get("path_hash_prefixes") is None:
            yield Fact(name, "paths"), [_text(each) for each in first.get("paths") or ()]
        else:
            yield Fact(name, "bins"), 1 + len(others)
            prefixes = [[_text(each["name"]), each["path_hash_prefixes"]] for each in (first, *others)]
            yield Fact(name, "paths"), f"by prefixes with SHA-256 {sha256(canonical.encode(prefixes)).hexdigest()}"
        yield Fact(name, "terminating"), bool(first.get("terminating"))
    if len(set(names)) != len(names):
        raise FactsError(f"{role} delegates twice to one role")
    yield Fact(role, "delegates"), names


def _group_of(delegated: Mapping[str, Any]) -> tuple[str, Any, Any, Any]:
    """What delegated roles have in common that are told of together: bins by prefixes of hashes, under one name."""
    name = _text(delegated["name"])
    prefix, dash, _ = name.rpartition("-")
    if not dash or delegated.get("path_hash_prefixes") is None:
        return name, None, None, None
    return f"{prefix}-*", delegated["keyids"], delegated["threshold"], delegated.get("terminating")


def _delegate(name: str, said: Mapping[str, Any], keys: Mapping[str, str]) -> Iterator[tuple[Fact, Any]]:
    yield Fact(name, "threshold"), _number(said["threshold"])
    for keyid in said["keyids"]:
        yield Fact(name, "key", _text(keyid)), keys.get(keyid, "unknown")


def _keys(keys: Mapping[str, Any]) -> dict[str, str]:
    return {keyid: f"{_text(key['scheme'])} {_text(key['keyval']['public'])}" for keyid, key in keys.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FactsError(f"{str(value)[:50]!r} is no text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise FactsError(f"{str(value)[:50]!r} is no number")
    return value
