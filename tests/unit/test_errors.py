"""The tree of errors is the one that is drawn in `schemas.errors`, both ways: names, parents and exit codes."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import click
import pytest

from schemas import errors
from schemas.errors import LedgerError, TemporaryError

PACKAGES = ("schemas", "projections", "ledger", "consumers")
DRAWN = re.compile(r"(?P<lead>[ │]*(?:[├└]── )?)(?P<name>[A-Z]\w*Error) +(?P<code>\d+)   (?P<meaning>\S.*)")
STEP = 4
"""So many columns further to the right stands what is below."""


class Row(NamedTuple):
    """A class of the tree: the one that it stands below, and the exit code of a command that it ends."""

    parent: str
    exit_code: int


def modules() -> Iterator[ModuleType]:
    """Every module of the product, imported; what runs when it is imported as a program is left out."""
    for package in map(importlib.import_module, PACKAGES):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


@pytest.fixture(scope="module", autouse=True)
def _all_are_imported() -> None:
    """A class is known when its module was imported."""
    list(modules())


def exceptions() -> set[type[BaseException]]:
    """Every class of an exception that the product defines."""
    return {
        each
        for module in modules()
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, BaseException) and each.__module__.partition(".")[0] in PACKAGES
    }


def below(root: type[LedgerError]) -> set[type[LedgerError]]:
    """A class and all that are made of it."""
    return {root}.union(*map(below, root.__subclasses__()))


def is_of_the_product(each: type[BaseException]) -> bool:
    """Tests may define errors of their own."""
    return each.__module__.partition(".")[0] in PACKAGES


def drawing() -> str:
    """The documentation of `schemas.errors`."""
    assert errors.__doc__ is not None
    return errors.__doc__


def drawn() -> dict[str, Row]:
    """The tree as it is drawn."""
    rows: dict[str, Row] = {}
    above: list[str] = []
    for line in drawing().splitlines():
        found = DRAWN.fullmatch(line.removeprefix("    ")) if line.startswith("    ") else None
        assert found or "──" not in line, f"this line of the tree cannot be read: {line}"
        if found is None:
            continue
        depth, rest = divmod(len(found["lead"]), STEP)
        assert not rest
        assert depth <= len(above), f"{found['name']} stands below nothing"
        assert found["name"] not in rows, f"{found['name']} is drawn twice"
        del above[depth:]
        rows[found["name"]] = Row(above[-1] if above else "Exception", int(found["code"]))
        above.append(found["name"])
    return rows


def defined() -> dict[str, Row]:
    """The tree as it is."""
    list(modules())
    classes = [each for each in below(LedgerError) if is_of_the_product(each)]
    rows = {each.__name__: Row(each.__bases__[0].__name__, each.exit_code) for each in classes}
    assert len(rows) == len(classes), "two classes share a name"
    return rows


def test_the_tree_is_drawn_as_it_is() -> None:
    assert drawn() == defined()
    assert len(drawn()) > 20


def test_exit_codes_say_who_can_mend_it() -> None:
    assert {row.exit_code for row in defined().values()} == {1, 2, 75}
    passing = {each.__name__ for each in below(TemporaryError) if is_of_the_product(each)}
    assert passing == {name for name, row in drawn().items() if row.exit_code == 75}


def test_a_second_parent_is_named() -> None:
    """Where it is not `TemporaryError`, which the exit code names."""
    for each in filter(is_of_the_product, below(LedgerError)):
        for parent in each.__bases__[1:]:
            line = next(line for line in drawing().splitlines() if f" {each.__name__} " in line)
            assert parent is TemporaryError or parent.__name__ in line, line


def test_machines_have_a_name_for_each() -> None:
    names = {each("why").name for each in below(LedgerError) if is_of_the_product(each)}
    assert len(names) == len(defined())
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)
    assert {"log-unavailable", "in-use", "not-a-ledger", "negative-answer"} <= names


def test_whatever_is_not_in_the_tree_is_named_or_private_or_of_the_command_line() -> None:
    last = drawing().rstrip().rpartition("\n\n")[2]
    named = set(re.findall(r"`(\w+Error)`", last))
    others = {each for each in exceptions() if not issubclass(each, LedgerError)}
    public = {
        each.__name__
        for each in others
        if not each.__name__.startswith("_") and not issubclass(each, click.ClickException)
    }
    assert public == named - drawn().keys()
    assert public


def test_a_service_tries_again_what_passes_or_what_somebody_may_mend_meanwhile() -> None:
    """Not what another process has: to wait for that would make it the second of its kind."""
    tried = {each.__name__ for each in below(LedgerError) if is_of_the_product(each) and each.is_retried}
    passing = {name for name, row in drawn().items() if row.exit_code == 75}
    assert tried == passing - {"InUseError"} | {"SignerError", "MissingKeyError"}
