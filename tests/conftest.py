"""Settings that all tests share, and the broker or the program in Go of those that need one."""

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Imported here because a distributed run loads no other conftest where the summary is printed.
from tests import unsynced
from tests.broker import Broker, BrokerMissingError, running_broker
from tests.checkproof import GoChecker, GoMissingError
from tests.databases import make_database
from tests.postgresql import Postgres, PostgresMissingError, running_postgres
from tests.simulation.counting import pytest_terminal_summary

__all__ = ["make_database", "pytest_terminal_summary"]

# No test is timed: a busy machine is no defect.
settings.register_profile("ledger", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ledger")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option of our own."""
    parser.addoption("--sync", action="store_true", help="Make durable what the product makes durable: slow.")


def pytest_configure(config: pytest.Config) -> None:
    """In every process of tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts so what runs behind it, and the programs that tests start would hear no Ctrl-C, either.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.getoption("--sync"):
        unsynced.begin()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of publications log too much to keep."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def _missing(what: str, variable: str, error: Exception) -> NoReturn:
    """A foreign program is not there: skip, or fail where it is required."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{variable}=1, and {error}")
    pytest.skip(f"{what}: {error}. {variable}=1 makes this a failure")


@pytest.fixture(scope="session")
def session_broker() -> Iterator[Broker]:
    """One broker for all tests of a process: tests that kill it must not run beside others that use it."""
    try:
        with running_broker() as broker:
            yield broker
    except BrokerMissingError as error:
        _missing("NOT TESTED AGAINST KAFKA", "TUF_LEDGER_REQUIRE_KAFKA", error)


@pytest.fixture(scope="session")
def session_postgres() -> Iterator[Postgres]:
    """One server for all tests of a process: each takes a schema of its own."""
    try:
        with running_postgres() as server:
            yield server
    except PostgresMissingError as error:
        _missing("NOT TESTED AGAINST POSTGRESQL", "TUF_LEDGER_REQUIRE_POSTGRESQL", error)


@pytest.fixture
def deployed() -> Callable[[str], str]:
    """The path of a program that files under `deploy` are for."""

    def find(program: str) -> str:
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            _missing("NOT TRIED", "TUF_LEDGER_REQUIRE_DEPLOY", FileNotFoundError(f"{program} is not installed"))
        return path

    return find


@pytest.fixture(scope="session")
def go_checker(tmp_path_factory: pytest.TempPathFactory) -> GoChecker:
    """The program in Go that checks proofs."""
    try:
        return GoChecker(tmp_path_factory.mktemp("go"))
    except GoMissingError as error:
        _missing("NOT CHECKED IN GO", "TUF_LEDGER_REQUIRE_GO", error)
