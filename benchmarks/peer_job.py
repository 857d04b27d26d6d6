"""The peer's job: many uploads at once into empty bins, until served; then one more upload.

    deploy/with-env python -m benchmarks.peer_job [--files 10000] [--bins 16384]

The closest peer (Repository Service for TUF) published 1,036 s for 10,000 artifacts into 16,384 bins, and 0.5 s for one
more. The floor of the same run is one thread that signs, hashes and writes the same files, buffered, without a log.
"""

import argparse
import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import structlog
from click.testing import CliRunner
from securesystemslib.signer import CryptoSigner

from benchmarks.machine import describe
from consumers.context import Context
from consumers.main import main as command
from consumers.outlets import PublicOutlet
from consumers.schedule import Schedule
from consumers.server import make_signer, open_follower
from schemas import canonical

PEER_SECONDS = {"all at once": 1036.0, "one more": 0.5}
ONE_MORE = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bins", type=int, default=16_384)
    options = parser.parse_args()
    print(*describe(), sep="\n")
    print(
        f"sizes     {options.files:,} files of {options.files:,} projects, {options.bins:,} bins, JSON pages as targets"
    )
    with tempfile.TemporaryDirectory(prefix="tuf-ledger-benchmark-") as folder:
        asyncio.run(_measure(Path(folder) / "ledger", options.files, options.bins))


async def _measure(folder: Path, files: int, bins: int) -> None:
    phases: list[dict[str, Any]] = []
    await asyncio.to_thread(_init, folder, bins)
    structlog.configure(
        processors=[_collect(phases)],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    context = Context(folder)
    storage = context.storage("signer")
    async with open_follower(context, "signer", PublicOutlet(storage), storage) as opened:
        signer = await make_signer(context, opened, Schedule(interval_seconds=0))
        for name, first, count in [
            ("all at once", 0, files),
            *(("one more", files + number, 1) for number in range(ONE_MORE)),
        ]:
            await opened.logs.events.append([_upload(number) for number in range(first, first + count)])
            started = perf_counter()
            await signer.step(now=True)
            seconds = perf_counter() - started
            number = opened.follower.head.number
            floor = await asyncio.to_thread(_floor, context.public / "metadata", number)
            _print(name, seconds, phases[-1], floor)


def _init(folder: Path, bins: int) -> None:
    result = CliRunner().invoke(
        command, ["init", str(folder), "--bins", str(bins), "--no-html", "--project-list-interval", "1h"]
    )
    if result.exit_code != 0:
        raise SystemExit(result.output)


def _collect(phases: list[dict[str, Any]]) -> Callable[[Any, str, Any], Any]:
    def collect(_: Any, __: str, entry: Any) -> str:
        if entry["event"] == "publication applied":
            phases.append(entry)
        raise structlog.DropEvent

    return collect


def _upload(number: int) -> bytes:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    name = f"project-{number}"
    return canonical.encode(
        {
            "specversion": "1.0",
            "id": f"upload-{number}",
            "source": "/benchmark",
            "type": "file.uploaded.v1",
            "subject": name,
            "time": "2026-11-21T10:00:00Z",
            "actorkind": "user",
            "actorid": f"account-{number % 1000}",
            "data": {
                "filename": f"project_{number}-1.0-py3-none-any.whl",
                "version": "1.0",
                "length": 10_000 + number,
                "hashes": {"sha256": digest, "blake2b_256": digest},
                "requires_python": ">=3.9",
                "core_metadata_sha256": digest,
            },
        }
    )


def _floor(folder: Path, number: int) -> float:
    """Sign, hash and write the files of a publication on one thread, buffered; in seconds."""
    payloads = [
        canonical.encode(json.loads(path.read_bytes())["signed"]) for path in sorted(folder.glob(f"{number}.*.json"))
    ]
    signer = CryptoSigner.generate_ed25519()
    with tempfile.TemporaryDirectory(dir=folder.parent) as target:
        started = perf_counter()
        for index, payload in enumerate(payloads):
            file = b'{"signatures":[{"sig":"%s"}],"signed":%s}' % (signer.sign(payload).signature.encode(), payload)
            hashlib.sha256(file).hexdigest()
            with open(os.path.join(target, str(index)), "wb") as out:  # noqa: PTH118, PTH123  # the fastest way
                out.write(file)
        return perf_counter() - started


def _print(name: str, seconds: float, phases: dict[str, Any], floor: float) -> None:
    parts = ", ".join(
        f"{phase.removesuffix('_seconds')} {value:.3f}" for phase, value in phases.items() if phase.endswith("_seconds")
    )
    print(
        f"{name:<12} {seconds:8.3f} s until served, {phases['signed']} bins signed ({parts}); floor {floor:.3f} s, "
        f"ratio {seconds / floor:.2f}; peer {PEER_SECONDS[name]:g} s, {PEER_SECONDS[name] / seconds:.0f} times as long"
    )


if __name__ == "__main__":
    main()
