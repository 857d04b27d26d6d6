"""What must hold after every run, whatever was appended: followers agree, and the oracle of all tests accepts it."""

import json
import re
import tempfile
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from consumers.follow.follower import Follower
from consumers.render.outlets import NoOutlet
from consumers.verify.comparing import reachable
from ledger.state.statements import State
from ledger.state.store import Store
from ledger.state.verdicts import JudgedRow, load_judged_after
from ledger.storage.memory import MemoryStorage
from schemas.codec import EVENT_TYPES
from tests.fuzz.catalogs import check_catalog
from tests.fuzz.facts import Facts
from tests.fuzz.plain_chain import PlainChain
from tests.fuzz.told import ToldView
from tests.fuzz.world import World, following
from tests.oracle import check_repository
from tests.property.holds import stated_sizes

RULES = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
CODES = frozenset(re.findall(r"`([a-z0-9-]+)`", RULES)) | {"void"}
NO_PAGE = "simple/not-there/index.json"
LISTS = {"simple/index.json", "simple/index.html"}


class View(NamedTuple):
    """What one follower made of the logs."""

    number: int
    digest: str
    files: dict[str, bytes]
    reachable: dict[str, str]
    judged: list[JudgedRow]
    publications: list[tuple[int, int, str]]
    """Size, content size and time of each publication."""
    retired: set[str]
    """The names of bins that are no longer in force."""


async def check(world: World, *, rng: Random | None = None) -> View:
    """Follow the logs anew in several ways, and check all that must hold."""
    stepped = await follow(world, skipping=False)
    same_view(stepped, await follow(world, skipping=True))
    if rng is not None:
        same_view(stepped, await follow(world, skipping=True, first=rng.randrange(stepped.number + 1)))
    live = world.storage.tree.files
    mutable = [path for path in stepped.files if is_mutable(path)]
    assert {path: live.get(path) for path in mutable} == {path: stepped.files[path] for path in mutable}
    assert {path for path in live if is_mutable(path)} == set(mutable)
    await check_folding(world, stepped)
    await check_catalog(world, stepped, stops=0 if rng is None else rng.randrange(4))
    check_judged(world, stepped)
    check_chain(world, stepped)
    if stepped.number:
        check_contents(world, stepped)
        check_client(world, stepped)
    return stepped


async def follow(world: World, *, skipping: bool, first: int = 0) -> View:
    """What a new follower comes to. One that skips may begin to do so after a restart, at the publication `first`.

    An observer is told everything. From that alone it knows what every page shows.
    """
    with tempfile.TemporaryDirectory() as folder:
        storage, told = MemoryStorage(), ToldView()
        if first:
            async with following(world.logs, Path(folder), storage, observers=[told]) as followed:
                while await followed.follower.step(lambda claim: claim.number <= first):
                    pass
        async with following(world.logs, Path(folder), storage, observers=[told]) as followed:
            if skipping:
                await followed.follower.skip()
            await followed.follower.catch_up()
            view = await view_of(followed.follower, followed.store, storage.tree.files)
        told.check(view.files, view.judged, view.retired)
        return view


async def check_folding(world: World, view: View) -> None:
    """A follower that only folds is told the same, whether it steps or skips."""
    for skipping in (False, True):
        told = ToldView()
        async with following(world.logs, outlet=NoOutlet(), observers=[told], renders=False) as followed:
            if skipping:
                await followed.follower.skip()
            await followed.follower.catch_up()
            judged = await followed.judged()
            assert (followed.follower.head.number, followed.follower.head.digest) == (view.number, view.digest)
        assert judged == view.judged
        told.check(view.files, judged, view.retired)


async def check_without_the_rejected(world: World, view: View) -> None:
    """The records that are listed had no effect: with garbage in their places everything is the same."""
    size, shown = published_sizes(view)
    values = list(world.events.values[:size])
    listed = {row.record for row in view.judged if row.log == "events"}
    for index, value in enumerate(values):
        waits = index >= shown and b'"roles.signed.' not in (value or b"")
        if waits or index in listed or b'"signing.' in (value or b""):
            values[index] = b"garbage"
    with tempfile.TemporaryDirectory() as folder:
        other = World(Path(folder), keyring=world.keyring, clock=world.clock)
        other.append(*values)
        async with other.signing() as signing:
            assert await signing.signer.step(now=True)
        served = await follow(other, skipping=False)
    for path, target in served_targets(view).items():
        if path not in LISTS and not path.endswith("/index.json"):
            assert served_targets(served)[path] == target
    assert set(served_targets(view)) | LISTS == set(served_targets(served)) | LISTS
    pages = {path: data for path, data in view.files.items() if is_mutable(path) and path.startswith("targets/simple/")}
    for path, data in pages.items():
        if path.removeprefix("targets/") not in LISTS:
            assert _without_times(served.files[path]) == _without_times(data)


def _without_times(page: bytes) -> bytes:
    """A page without the times of its uploads: these follow from the publications, too."""
    return re.sub(rb'"upload-time":"[^"]*",', b"", page)


async def view_of(follower: Follower, store: Store, files: dict[str, bytes]) -> View:
    """What a follower came to."""
    expected = {}
    async for batch in reachable(follower, store, files=False):
        expected.update({each.path: each.sha256 for each in batch})
    judged = await store.run(load_judged_after, ["rejected", "no effect"], ("", -1), 10**6)
    rows = await store.run(State.rows, "SELECT size, content_size, time FROM publications ORDER BY number")
    retired = {name for name, entry in follower.table.entries.items() if not entry.length}
    head, publications = follower.head, [tuple(row) for row in rows]
    return View(head.number, head.digest, files, expected, judged, publications, retired)


def is_mutable(path: str) -> bool:
    """Whether a served path is not that of an immutable file."""
    name = path.rpartition("/")[2]
    return path == "metadata/timestamp.json" or (path.startswith("targets/") and name.startswith("index."))


def same_view(stepped: View, skipped: View) -> None:
    """Stepping serves all that skipping serves, byte for byte, and judges the same."""
    assert (stepped.number, stepped.digest) == (skipped.number, skipped.digest)
    assert stepped.reachable == skipped.reachable
    for path, data in skipped.files.items():
        assert stepped.files.get(path) == data, path
    assert {path for path in stepped.files if is_mutable(path)} == {path for path in skipped.files if is_mutable(path)}
    for view in (stepped, skipped):
        for path, digest in view.reachable.items():
            assert sha256(view.files[path]).hexdigest() == digest, path
    assert stepped.judged == skipped.judged


def check_chain(world: World, view: View) -> None:
    """The records of `publications` that are listed are those that a naive judge of the rules lists, with its codes."""
    rows = [row for row in view.judged if row.log == "publications"]
    lies = [row.digest for row in rows if row.detail.startswith("it diverged")]
    judged = PlainChain(world.events.values, lies).codes(world.publications.values)
    assert [(row.record, row.code) for row in rows] == judged


def check_judged(world: World, view: View) -> None:
    """What is listed has a code of docs/rules.md, and the digest of its record."""
    for row in view.judged:
        assert row.code in CODES, row
        log = world.events if row.log == "events" else world.publications
        assert row.digest == sha256(log.values[row.record] or b"").hexdigest()
        assert row.kind in {"", "claim", "publication", *EVENT_TYPES}


def published_sizes(view: View) -> tuple[int, int]:
    """How many events are covered, and how many are shown."""
    return stated_sizes(view.files[f"metadata/{view.number}.snapshot.json"]) if view.number else (0, 0)


def accepted_events(world: World, view: View) -> list[tuple[int, bytes]]:
    """The events that are shown and not listed; each must be one that another parser reads."""
    listed = {row.record for row in view.judged if row.log == "events"}
    values = world.events.values[: published_sizes(view)[1]]
    return [(index, value or b"") for index, value in enumerate(values) if index not in listed]


def check_contents(world: World, view: View) -> None:
    """Pages and targets are those that the accepted events make, and no others."""
    facts = Facts(accepted_events(world, view), view.publications)
    targets = served_targets(view)
    pages = {path: view.files[f"targets/{path}"] for path in targets if path.startswith("simple/")}
    for path, page in pages.items():
        assert targets[path] == (len(page), sha256(page).hexdigest())
    assert {path: each for path, each in targets.items() if path not in pages} == facts.all_targets()
    html = "simple/index.html" in pages
    expected = {f"simple/{name}/index.json" for name in facts.existing()} | {"simple/index.json"}
    assert set(pages) == expected | ({path.replace(".json", ".html") for path in expected} if html else set())
    for name in facts.existing():
        assert json.loads(pages[f"simple/{name}/index.json"]) == facts.page(name)
    plain = {path.removeprefix("targets/") for path in view.files if is_mutable(path) and path.startswith("targets/")}
    assert plain == set(pages)


def served_targets(view: View) -> dict[str, tuple[int, str]]:
    """All targets of the bins that the served snapshot lists."""
    snapshot = json.loads(view.files[f"metadata/{view.number}.snapshot.json"])["signed"]
    targets: dict[str, tuple[int, str]] = {}
    for filename, meta in snapshot["meta"].items():
        path = f"metadata/{meta['version']}.{filename}"
        if path not in view.reachable or "-" not in filename:
            continue
        found = json.loads(view.files[path])["signed"]["targets"]
        targets.update({name: (each["length"], each["hashes"]["sha256"]) for name, each in found.items()})
    return targets


# --- clients -----------------------------------------------------------------------------------------------------


def check_client(world: World, view: View) -> None:
    """The oracle of all tests accepts what is served from the first root on; a client finds targets and no others."""
    targets = served_targets(view)
    names = sorted(targets)
    wanted = names[:: max(1, len(names) // 12)]
    seen = check_repository(view.files, first_root(world), files=False, others=[*wanted, NO_PAGE])
    assert seen.number == view.number
    assert seen.others == {**{name: targets[name][1] for name in wanted}, NO_PAGE: None}


def first_root(world: World) -> bytes:
    """The root that clients begin with."""
    first: Any = json.loads(world.events.values[1] or b"")["data"]["roles"]["root"]
    return json.dumps(first, sort_keys=True, separators=(",", ":")).encode()
