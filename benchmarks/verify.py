"""Verifying many small publications, beside the floor: check the same signatures and digests, on one core.

    deploy/with-env python -m benchmarks.verify [--events 10000] [--bins 16384] [--publications 1000] [--uploads 2]
                                                [--ledger DIR]

Everything generated is published at once first, and left out; then publications of a few uploads each. Memory is the
peak of all processes together: of a command that verifies these publications, and of one that skips all but the last.
"""

import argparse
import asyncio
import hashlib
import json
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from benchmarks.generator import generate, generate_more
from benchmarks.ledgers import create, fill, publish, running_signer, signed_files, size_of
from benchmarks.report import Report
from benchmarks.scale import run_command
from consumers.context import Context
from consumers.render.outlets import served_version
from consumers.verify.amount import RECORD
from consumers.verify.verifying import VerifyOptions, verify
from consumers.work.progress import READING, WHOLE
from projections.metadata.paths import TIMESTAMP
from schemas import canonical

REPETITIONS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--publications", type=int, default=1_000)
    parser.add_argument("--uploads", type=int, default=2, help="of each publication")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", type=Path, metavar="DIR", help="make the ledger here; measure it if it is there")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    folder = options.ledger or Path(tempfile.mkdtemp(prefix="tuf-ledger-benchmark-"))
    try:
        asyncio.run(_measure(folder / "ledger", options))
    finally:
        if options.ledger is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _measure(folder: Path, options: argparse.Namespace) -> None:
    if not folder.exists():
        await asyncio.to_thread(create, folder, options.bins)
        await _fill(Context(folder), options)
    context = Context(folder)
    last = served_version((context.public / TIMESTAMP).read_bytes())
    first = last - options.publications + 1
    report = Report("verify", events=options.events, bins=options.bins, publications=options.publications)
    left = options.publications * (2 * RECORD + options.uploads * (WHOLE - READING))
    seconds, floors = [], []
    for _ in range(REPETITIONS):
        floors.append(_floor(context, range(first, last + 1)))
        seconds.append(await _verify(context, first, left))
    report.add(
        f"verify publications of {options.uploads} uploads",
        seconds,
        floor=floors,
        per=options.publications,
        unit="publications",
    )
    words = ["verify", "--ledger", folder, "--from"]
    _, memory = await asyncio.to_thread(run_command, *words, first)
    _, skipping = await asyncio.to_thread(run_command, *words, last)
    report.note("memory of the command", memory=memory, skipping=skipping)
    report.close()


async def _fill(context: Context, options: argparse.Namespace) -> None:
    await fill(context, generate(options.seed, options.events), options.events)
    size = await size_of(context)
    async with running_signer(context) as (opened, signer):
        await signer.step()
        records = generate_more(options.seed, options.events, size, options.uploads * options.publications)
        for _ in range(options.publications):
            await publish(opened, signer, list(islice(records, options.uploads)))


async def _verify(context: Context, first: int, left: int) -> float:
    """The seconds from when all publications before the first one were passed over to the last one: from when no more
    than an amount is left.
    """
    times: list[float] = []

    def report(done: int, total: int) -> None:
        if done >= total - left:
            times.append(perf_counter())

    await verify(context, VerifyOptions(first, None, None, None, files=False), report)
    return times[-1] - times[0]


def _floor(context: Context, numbers: range) -> float:
    """The seconds that checking all signatures and digests of these publications takes; the files are in memory."""
    root = json.loads((context.public / "metadata/1.root.json").read_bytes())["signed"]
    keys = {keyid: key["keyval"]["public"] for keyid, key in root["keys"].items()}
    public = {keyid: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for keyid, key in keys.items()}
    seconds = 0.0
    for number in numbers:
        files = [*signed_files(context, number), context.public / f"metadata/{number}.timestamp.json"]
        checks = []
        for data in (path.read_bytes() for path in files):
            document = json.loads(data)
            payload = canonical.encode(document["signed"])
            checks += [
                (public[each["keyid"]], bytes.fromhex(each["sig"]), payload, data) for each in document["signatures"]
            ]
        started = perf_counter()
        for key, signature, payload, data in checks:
            key.verify(signature, payload)
            hashlib.sha256(data).digest()
        seconds += perf_counter() - started
    return seconds


if __name__ == "__main__":
    main()
