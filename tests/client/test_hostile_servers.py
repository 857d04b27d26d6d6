"""Servers that drip, or send bombs: consumers and commands end when they are told to, and take little memory."""

import gzip
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from projections.metadata.paths import TIMESTAMP
from tests.client.index import Index
from tests.client.processes import MIB, run_for_memory, start, until
from tests.serving import Asked, answering


@pytest.fixture(autouse=True)
def _published(index: Index) -> None:
    index.upload("one")
    index.publish()


class Dripping:
    """A server that sends a few kilobytes a second, which is enough to be listened to for minutes, or an hour."""

    def __init__(self, public: Path, *, honest: tuple[str, ...]) -> None:
        self._public = public
        self._honest = honest
        self.began = threading.Event()
        self.gone = threading.Event()

    def __call__(self, asked: Asked) -> None:
        if asked.path in self._honest:
            body = (self._public / asked.path).read_bytes()
            asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        length = 10**9 if self._honest else 10**7
        asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        self.began.set()
        try:
            for _ in range(length // 8192):
                asked.send(bytes(8192))
                time.sleep(0.2)
        finally:
            self.gone.set()

    def wait(self) -> None:
        """Wait until somebody listens."""
        until(self.began.is_set, lambda: "somebody who reads")


@contextmanager
def dripping(index: Index, *honest: str) -> Iterator[tuple[Dripping, str]]:
    server = Dripping(index.public, honest=honest)
    with answering(server) as url:
        yield server, url


honest_timestamp = pytest.mark.parametrize("honest", [(), (TIMESTAMP,)], ids=["read", "digest"])


@honest_timestamp
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_verification_of_a_dripping_server(
    index: Index, tmp_path: Path, honest: tuple[str, ...], number: signal.Signals
) -> None:
    with dripping(index, *honest) as (server, url):
        arguments = ("verify", "--ledger", index.folder, "--served", url)
        with start(tmp_path / "log", *arguments) as running:
            server.wait()
            running.process.send_signal(number)
            running.wait(128 + number)
        assert running.output() == ""
        until(server.gone.is_set, lambda: "the connection to be closed")


@pytest.mark.parametrize(
    ("consumer", "honest"),
    [("verifier", ()), ("verifier", (TIMESTAMP,)), ("signer", ())],
    ids=["verifier-read", "verifier-digest", "signer"],
)
def test_sigterm_ends_a_consumer_that_reads_from_a_dripping_server(
    index: Index, tmp_path: Path, consumer: str, honest: tuple[str, ...]
) -> None:
    with dripping(index, *honest) as (server, url):
        env = {f"TUF_LEDGER_{consumer.upper()}_SERVED": url}
        with start(tmp_path / "log", "run", "--ledger", index.folder, consumer, env=env) as running:
            server.wait()
            running.stop()
        assert "was cancelled" not in running.output()


@pytest.mark.parametrize("arguments", [("publish",), ("resume", "--above", "5"), ("backup", "copy")])
def test_sigterm_ends_a_command_that_reads_from_a_dripping_server(
    index: Index, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    if arguments[0] == "backup":
        arguments = ("backup", str(tmp_path / "copy"))
    with dripping(index) as (server, url):
        env = {"TUF_LEDGER_SIGNER_SERVED": url}
        with start(tmp_path / "log", *arguments, "--ledger", index.folder, env=env) as running:
            server.wait()
            running.process.send_signal(signal.SIGTERM)
            running.wait(128 + signal.SIGTERM)


# --- memory ------------------------------------------------------------------------------------------------------


def bomb(count: int) -> bytes:
    """About ten kilobytes that unpack, twice, to so many MiB: a server need not pack them, only repeat a block."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(head + block * (count - 1) + packer.flush())


@pytest.mark.parametrize("status", [b"200 OK", b"302 Found", b"404 Not Found", b"500 Error"])
def test_a_bomb_takes_no_memory(index: Index, status: bytes) -> None:
    verify = ("verify", "--ledger", index.folder, "--served")
    _, _, usual = run_for_memory(*verify, index.public)
    body = bomb(1000)
    assert len(body) < 100_000

    def respond(asked: Asked) -> None:
        asked.send(
            b"HTTP/1.1 %s\r\nLocation: /again\r\nContent-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n"
            % (status, len(body))
        )
        asked.send(body)

    with answering(respond) as url:
        code, _, peak = run_for_memory(*verify, url)
    assert code != 0
    assert peak - usual < 100 * MIB


def test_a_timestamp_as_long_as_metadata_may_be_takes_little_memory(index: Index) -> None:
    verify = ("verify", "--ledger", index.folder, "--served")
    _, _, usual = run_for_memory(*verify, index.public)
    body = b"[%s]" % b",".join([b"[]"] * 5 * MIB)

    def respond(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with answering(respond) as url:
        code, said, peak = run_for_memory(*verify, url)
    assert code == 1
    assert "not signed by any key of this ledger" in said
    assert peak - usual < 100 * MIB  # its JSON would take several hundred MiB


@pytest.mark.parametrize("byte", [b"x", b" "])
def test_one_line_without_end_takes_no_memory(index: Index, byte: bytes) -> None:
    sizes = index.info()["sizes"]
    append = ("append", "--ledger", index.folder, "--keep-going")
    _, _, usual = run_for_memory(*append)

    block = byte * MIB
    code, said, peak = run_for_memory(*append, stdin=chain((block for _ in range(400)), [b"x\nnext\n"]))
    assert code == 1
    assert "line 1: oversize: " in said
    assert "line 2: not-json" in said
    assert "2 bad lines" in said
    assert peak - usual < 20 * MIB
    assert index.info()["sizes"] == sizes
