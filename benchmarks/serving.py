"""Mixed reads of a gateway, alone and beside publications of 10,000 events; and of nginx on the same files.

    deploy/with-env --dev python -m benchmarks.serving [--background 20000] [--burst 10000] [--seconds 20]

The load comes from `wrk` on the same machine: pages as JSON, timestamps, snapshots, bins, core metadata and wheels of
64 KiB, with kept connections and gzip, as fast as they are answered. A signer that is also the publisher runs as a
process of its own; as soon as a burst of events is served, the next one is appended. So a publication is in work all
the time. Without nginx, only the gateway is measured.
"""

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import structlog

from benchmarks.generator import generate
from benchmarks.ingest import covered_size, start_signer, wait_until_started
from benchmarks.ledgers import create, fill
from benchmarks.report import Report
from consumers.context import Context
from consumers.gateway.negotiating import JSON_TYPE
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from projections.metadata.paths import companion_path, plain_path
from tests.client.processes import start
from tests.gateway.servers import nginx

LOOK_SECONDS = 0.05
PROJECTS = 200
"""How many projects' pages and files are read."""
WHEEL_BYTES = 64 * 2**10
SHARES = {"page": 60, "timestamp": 10, "snapshot": 2, "bin": 8, "metadata": 10, "wheel": 10}
"""Of a hundred requests."""

SCRIPT = """
local paths = {%s}
local headers = {["Accept"] = "%s", ["Accept-Encoding"] = "gzip"}
local requests = {}
function init()
  for index, path in ipairs(paths) do requests[index] = wrk.format("GET", path, headers) end
end
function request() return requests[math.random(#requests)] end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{"requests":%%d,"microseconds":%%d,"errors":%%d,"p50":%%d,"p99":%%d,"most":%%d}\\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--background", type=int, default=20_000, help="events that are published before")
    parser.add_argument("--burst", type=int, default=10_000, help="events of a publication beside it")
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrk = shutil.which("wrk")
    if wrk is None:
        parser.error("wrk is not installed: it is Debian's package `wrk`")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    with tempfile.TemporaryDirectory(prefix="tuf-ledger-benchmark-") as folder:
        asyncio.run(_measure(Path(folder), wrk, options))


async def _measure(folder: Path, wrk: str, options: argparse.Namespace) -> None:
    report = Report(
        "serving",
        background=options.background,
        burst=options.burst,
        bins=options.bins,
        seconds=options.seconds,
        connections=options.connections,
    )
    context = await asyncio.to_thread(create, folder / "ledger", options.bins)
    # Bursts come as long as it is measured: more than any machine publishes in that time.
    records = generate(options.seed, options.background + options.burst * (options.seconds + 10) * 4)
    await fill(context, islice(records, options.background), options.background)
    await publish_once(context, Schedule())
    script = folder / "load.lua"
    script.write_text(_script(context, Random(options.seed)))
    load = [wrk, "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "-s", str(script)]
    with start(folder / "log", "serve", "--ledger", context.folder, "--listen", "127.0.0.1:0") as running:
        (gateway,) = await asyncio.to_thread(lambda: running.wait_for("gateway started")["urls"])
        bursts = _bursts(records, options.burst)
        await _report_both(report, "the gateway", [*load, gateway], context, bursts)
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is not None:
            with nginx(program, folder, context.public.absolute(), gateway.rstrip("/")) as client:
                await _report_both(report, "nginx", [*load, str(client.base_url)], context, bursts)
    command = ("run", "signer", "publisher", "--ledger", context.folder, "--listen", "127.0.0.1:0")
    with start(folder / "log", *command) as running:
        (gateway,) = await asyncio.to_thread(lambda: running.wait_for("gateway started")["urls"])
        await asyncio.to_thread(running.wait_for, "signer started")
        async with _appending(context, bursts) as taken:
            found = await _put_load([*load, gateway])
        report.note("the gateway, in the process of the signer", **found, **_told(taken))
    report.close()


def _bursts(records: Iterator[bytes], length: int) -> Iterator[list[bytes]]:
    while values := list(islice(records, length)):
        yield values


async def _report_both(
    report: Report, name: str, load: list[str], context: Context, bursts: Iterator[list[bytes]]
) -> None:
    """Report a server's figures, alone and beside publications."""
    await _put_load(load, seconds=2)  # what is made once is made
    report.note(f"{name}, alone", **await _put_load(load))
    async with _publishing(context, bursts) as taken:
        found = await _put_load(load)
    report.note(f"{name}, beside publications", **found, **_told(taken))


def _told(taken: Sequence[float]) -> dict[str, Any]:
    """How many publications there were, and how long one took."""
    mean = f"{sum(taken) / len(taken):.1f} s" if taken else "longer"
    return {"publications": len(taken), "each took": mean}


async def _put_load(load: list[str], *, seconds: int | None = None) -> dict[str, Any]:
    """What a run of wrk found."""
    command = [f"-d{seconds}s" if seconds and each.startswith("-d") else each for each in load]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    found = json.loads(output.splitlines()[-1])
    return {
        "requests a second": f"{found['requests'] / found['microseconds'] * 1e6:,.0f}",
        "p50": f"{found['p50'] / 1000:.1f} ms",
        "p99": f"{found['p99'] / 1000:.1f} ms",
        "most": f"{found['most'] / 1000:.1f} ms",
        "errors": found["errors"],
    }


@asynccontextmanager
async def _publishing(context: Context, bursts: Iterator[list[bytes]]) -> AsyncIterator[list[float]]:
    """A signer, and bursts of events; yields the seconds that each publication took."""
    process = start_signer(context)
    try:
        await wait_until_started(context, process)
        async with _appending(context, bursts) as taken:
            yield taken
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 60)


@asynccontextmanager
async def _appending(context: Context, bursts: Iterator[list[bytes]]) -> AsyncIterator[list[float]]:
    """Bursts of events, each appended when the one before is served; yields the seconds that each took until then."""
    taken: list[float] = []
    task = asyncio.create_task(_append_bursts(context, bursts, taken))
    try:
        yield taken
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _append_bursts(context: Context, bursts: Iterator[list[bytes]], taken: list[float]) -> None:
    logs = context.logs()
    await logs.open()
    try:
        for values in bursts:
            await logs.events.append(values)
            size, started = await logs.events.size(), monotonic()
            while await asyncio.to_thread(covered_size, context.public) < size:  # noqa: ASYNC110  # another process
                await asyncio.sleep(LOOK_SECONDS)
            taken.append(monotonic() - started)
    finally:
        await logs.close()


# --- what is read ------------------------------------------------------------------------------------------------


def _script(context: Context, chance: Random) -> str:
    """What wrk runs: requests of all kinds, as often as `SHARES` says. Files that are read are made."""
    metadata = context.public / "metadata"
    names = sorted(path.parent.name for path in (context.public / "targets/simple").glob("*/index.json"))
    names = chance.sample(names, min(PROJECTS, len(names)))
    files = [path for name in names for path in _make_files(context, name)]
    paths = {
        "page": [f"/simple/{name}/" for name in names],
        "timestamp": ["/metadata/timestamp.json"],
        "snapshot": [f"/metadata/{path.name}" for path in metadata.glob("*.snapshot.json")],
        "bin": [f"/metadata/{path.name}" for path in sorted(metadata.glob("*.bin-*.json"))[:1000]],
        "metadata": [f"/{path}.metadata" for path in files],
        "wheel": [f"/{path}" for path in files],
    }
    chosen = [chance.choice(paths[kind]) for kind, share in SHARES.items() for _ in range(share * 20)]
    return SCRIPT % (",".join(map(json.dumps, chosen)), JSON_TYPE)


def _make_files(context: Context, name: str) -> Iterator[str]:
    """Bytes for the wheels of a project, and what is beside them; the target paths of some."""
    page = json.loads((context.public / plain_path(f"simple/{name}/index.json")).read_bytes())
    for number, entry in enumerate(each for each in page["files"] if each["core-metadata"]):
        target = entry["url"].removeprefix("../../")
        beside = context.public / companion_path(target, "metadata")
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(b"Metadata-Version: 2.1\n" + b"Classifier: Programming Language\n" * 60)
        if number < 3:
            (context.public / plain_path(target)).write_bytes(bytes(WHEEL_BYTES))
            yield target


if __name__ == "__main__":
    main()
