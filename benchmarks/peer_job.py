"""The peer's job: many uploads at once into empty bins, until served; then one more upload.

    deploy/with-env python -m benchmarks.peer_job [--files 10000] [--bins 16384]

The closest peer (Repository Service for TUF) published 1,036 s for 10,000 artifacts into 16,384 bins, and 0.5 s for one
more. The floor of the same run is one thread that signs, hashes and writes the same files, buffered, without a log.
"""

import argparse
import asyncio
import hashlib
import tempfile
from pathlib import Path

from benchmarks import floors
from benchmarks.ledgers import create, publish, running_signer, signed_files
from benchmarks.machine import describe
from benchmarks.phases import Phases, collect, seconds_of
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
    context = await asyncio.to_thread(create, folder, bins)
    phases = collect()
    async with running_signer(context) as (opened, signer):
        for name, first, count in [
            ("all at once", 0, files),
            *(("one more", files + number, 1) for number in range(ONE_MORE)),
        ]:
            seconds = await publish(opened, signer, [_upload(number) for number in range(first, first + count)])
            signed = signed_files(context, opened.follower.head.number)
            _print(name, seconds, phases[-1], await asyncio.to_thread(floors.publication, signed))


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


def _print(name: str, seconds: float, phases: Phases, floor: float) -> None:
    parts = ", ".join(f"{phase} {value:.3f}" for phase, value in seconds_of(phases).items())
    print(
        f"{name:<12} {seconds:8.3f} s until served, {phases['signed']} bins signed ({parts}); floor {floor:.3f} s, "
        f"ratio {seconds / floor:.2f}; peer {PEER_SECONDS[name]:g} s, {PEER_SECONDS[name] / seconds:.0f} times as long"
    )


if __name__ == "__main__":
    main()
