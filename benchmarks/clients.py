"""What clients download at PyPI's size, for several numbers of bins, plain and compressed.

    deploy/with-env python -m benchmarks.clients [--files 17000000] [--projects 740000]

Every file is one that the ledger makes: root, targets, bins and snapshot are those of a ledger with so many bins, whose
versions are then spread as after a million publications; a bin holds as many targets as fall into one.
"""

import argparse
import asyncio
import gzip
import json
import re
import tempfile
from hashlib import sha256
from pathlib import Path
from random import Random

from benchmarks.ledgers import create
from benchmarks.machine import describe
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from projections.metadata.repository import bin_payload, signed_file
from projections.metadata.targets import target_entry

BINS = (4_096, 16_384, 32_768, 65_536)
LIMIT_BYTES = {"snapshot": 2_000_000, "bin": 5_000_000}
"""What python-tuf, go-tuf and tuf-js refuse to download by default, unless the metadata above gives the length."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=17_000_000)
    parser.add_argument("--projects", type=int, default=740_000)
    options = parser.parse_args()
    print(*describe(), sep="\n")
    print(f"sizes     {options.files:,} files, {options.projects:,} projects with one page each (JSON)")
    print("\n| bins | targets a bin | bin | snapshot | first visit | next visit | all bins |")
    print("|---|---|---|---|---|---|---|")
    for bins in BINS:
        _row(bins, options.files + options.projects)


def _row(bins: int, targets: int) -> None:
    with tempfile.TemporaryDirectory(prefix="tuf-ledger-benchmark-") as folder:
        files = _metadata(Path(folder) / "ledger", bins)
    chance = Random(bins)
    files["snapshot"] = re.sub(
        rb'"version":1\b', lambda _: b'"version":%d' % chance.randrange(1, 1_000_000), files["snapshot"]
    )
    files["bin"] = _bin(chance, targets // bins)
    plain = {name: len(data) for name, data in files.items()}
    packed = {name: len(gzip.compress(data, 6)) for name, data in files.items()}
    shown = [_both(plain[name], packed[name]) for name in ("bin", "snapshot")]
    # A project's page and one of its files are in two bins; a root that is not there costs an answer without a body.
    next_visit = ("timestamp", "snapshot", "bin", "bin")
    for names in ((*next_visit, "root", "targets", "bins"), next_visit):
        shown += [_both(sum(plain[name] for name in names), sum(packed[name] for name in names))]
    over = " (!)" if plain["snapshot"] > LIMIT_BYTES["snapshot"] else ""
    total = f"{bins * plain['bin'] / 1e9:.1f} GB"
    cells = (f"{bins:,}", f"{targets // bins:,}", shown[0], shown[1] + over, *shown[2:], total)
    print(f"| {' | '.join(cells)} |", flush=True)


def _metadata(folder: Path, bins: int) -> dict[str, bytes]:
    """The files of a new ledger with so many bins, by role."""
    context = create(folder, bins)
    asyncio.run(publish_once(context, Schedule(renew_now=True)))
    metadata = context.public / "metadata"
    timestamp = (metadata / "timestamp.json").read_bytes()
    number = json.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"]
    return {
        "timestamp": timestamp,
        "snapshot": (metadata / f"{number}.snapshot.json").read_bytes(),
        **{role: (metadata / f"1.{role}.json").read_bytes() for role in ("root", "targets", "bins")},
    }


def _bin(chance: Random, targets: int) -> bytes:
    """A bin with so many targets, signed by nobody in particular."""
    entries = []
    for number in range(targets):
        digest, path = chance.randbytes(32).hex(), chance.randbytes(32).hex()
        name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz_", k=chance.randrange(4, 24)))
        version = f"{chance.randrange(9)}.{chance.randrange(30)}.{chance.randrange(20)}"
        suffix = chance.choice((".tar.gz", "-py3-none-any.whl", "-cp312-cp312-manylinux_2_17_x86_64.whl"))
        target = f"packages/{path[:2]}/{path[2:4]}/{path[4:]}/{name}-{version}{suffix}"
        if number % 24 == 0:  # as many targets are pages
            target = f"simple/{name.replace('_', '-')}/index.json"
        entries.append(target_entry(target, chance.randrange(1_000, 5_000_000), digest))
    payload = bin_payload(sorted(entries), 123_456, "2026-11-28T10:00:00Z")
    return signed_file(payload, {sha256(b"key").hexdigest(): chance.randbytes(64).hex()})


def _both(plain: int, packed: int) -> str:
    return f"{plain / 1000:,.0f} kB ({packed / 1000:,.0f})"


if __name__ == "__main__":
    main()
