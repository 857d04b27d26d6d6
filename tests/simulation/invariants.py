"""What must hold, at every effect and at the end of every run.

That clients accept what is served is for the oracle of all tests (`tests.oracle`), asked now and then
(`tests.simulation.client`). Here is what it cannot know: how one moment led to the next. This
is asked after every effect, hundreds of thousands of times: it follows the metadata by itself, and remembers.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, wraps
from hashlib import sha256
from typing import Any, TypeVar, cast

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata

from ledger.state.verdicts import JudgedRow
from projections.log.prefix import Prefix
from schemas.codec import decode_publication_record
from schemas.publications import Claim, Record
from tests import factory
from tests.fuzz.told import ToldView
from tests.property.holds import content_sizes, stated_sizes
from tests.property.model import File, Model, target_of
from tests.simulation.disks import DiskContents
from tests.simulation.ports import Records, Tree
from tests.simulation.processes import Process
from tests.simulation.replay import TIMESTAMP, Replayed, judged_rows, replay
from tests.simulation.scenarios import FREEABLE, SECOND

Files = Mapping[str, bytes]

_parsed: dict[bytes, Any] = {}


def parse(data: bytes) -> Any:
    """The `signed` part of a metadata file; parsed once."""
    if data not in _parsed:
        if len(_parsed) > 20_000:
            _parsed.clear()
        _parsed[data] = json.loads(data)["signed"]
    return _parsed[data]


def reachable(files: Files) -> dict[str, bytes]:
    """Everything that clients can come to from `timestamp.json`, pages under their plain names too. It must exist, and
    be what the file above it says.
    """
    found: dict[str, bytes] = {}

    def get(path: str) -> bytes:
        assert path in files, f"{path} is reachable, and missing"
        found[path] = files[path]
        return files[path]

    timestamp = parse(get(TIMESTAMP))
    meta = timestamp["meta"]["snapshot.json"]
    snapshot_file = get(f"metadata/{meta['version']}.snapshot.json")
    assert (len(snapshot_file), sha256(snapshot_file).hexdigest()) == (meta["length"], meta["hashes"]["sha256"])
    snapshot = parse(snapshot_file)
    assert snapshot["version"] == meta["version"] == timestamp["version"]
    versions = {name.removesuffix(".json"): entry for name, entry in snapshot["meta"].items()}
    get("metadata/1.root.json")
    number = 1
    while f"metadata/{number + 1}.root.json" in files:
        number += 1
        get(f"metadata/{number}.root.json")
    for role in ("targets", "bins"):
        assert parse(get(f"metadata/{versions[role]['version']}.{role}.json"))["version"] == versions[role]["version"]
    bins = parse(found[f"metadata/{versions['bins']['version']}.bins.json"])
    for name in bin_names(bins):
        file = get(f"metadata/{versions[name]['version']}.{name}.json")
        assert versions[name].get("length", len(file)) == len(file)
        assert parse(file)["version"] == versions[name]["version"]
        for path, target in parse(file)["targets"].items():
            if path.startswith("simple/"):
                folder, _, page = path.rpartition("/")
                data = get(f"targets/{folder}/{target['hashes']['sha256']}.{page}")
                assert (sha256(data).hexdigest(), len(data)) == (target["hashes"]["sha256"], target["length"])
    return found


def bin_names(bins: Any) -> list[str]:
    """The names of the bins that `bins` delegates to."""
    succinct = bins["delegations"].get("succinct_roles")
    if succinct is None:
        return [role["name"] for role in bins["delegations"]["roles"]]
    count = 1 << succinct["bit_length"]
    digits = len(f"{count - 1:x}")
    return [f"{succinct['name_prefix']}-{index:0{digits}x}" for index in range(count)]


def targets_of(files: Files) -> dict[str, tuple[int, str]]:
    """Length and SHA-256 of every target that is served."""
    found = reachable(files)
    targets: dict[str, tuple[int, str]] = {}
    for data in found.values():
        if data.startswith(b'{"signatures"') and parse(data)["_type"] == "targets":
            for path, target in parse(data)["targets"].items():
                assert path not in targets, f"{path} is in two bins"
                targets[path] = target["length"], target["hashes"]["sha256"]
    return targets


Watch = TypeVar("Watch", bound=Callable[..., None])


def _noted(watch: Watch) -> Watch:
    """Note what was violated: the code under test, in which this is called, may catch the exception."""

    @wraps(watch)
    def wrapped(oracle: "Oracle", *arguments: Any) -> None:
        try:
            watch(oracle, *arguments)
        except AssertionError as error:
            oracle.violation = oracle.violation or error
            raise

    return cast("Watch", wrapped)


class Oracle:
    """Watches a world. It reads the logs, and is told effects and signatures."""

    def __init__(self, events: Records, publications: Records, *, repeating: bool) -> None:
        self._events = events
        self._publications = publications
        self._repeating = repeating
        self._signed: dict[tuple[str, int, str], set[bytes]] = defaultdict(set)
        self._published: dict[str, bytes] = {}
        self._snapshots: dict[str, dict[str, int]] = defaultdict(dict)
        self._prefix = Prefix()
        self._claimed: set[int] = set()
        self._claims_read = 0
        self.violation: AssertionError | None = None

    # --- during a run --------------------------------------------------------------------------------------------

    @_noted
    def changed(self, tree: Tree, path: str, before: bytes | None, after: bytes | None) -> None:
        """A served file changed."""
        if path == TIMESTAMP:
            assert after is not None
            self._timestamp_changed(tree, before, after)
        elif path.startswith("metadata/"):
            assert before is None, f"{path} was replaced or deleted"
            assert after is not None
            assert self._published.setdefault(path, after) == after, f"{path} was published with two contents"
        elif path in tree.stored:
            assert after in {None, tree.stored[path]}
            if after is None:
                assert tree.evidence[path] == before, f"{path} was deleted"
                assert path not in listed_files(tree.files), f"{path} is taken away while clients are told of it"
        elif not path.endswith(("/index.json", "/index.html")):
            assert before is None, f"{path} was replaced or deleted"

    def _timestamp_changed(self, tree: Tree, before: bytes | None, after: bytes) -> None:
        version = parse(after)["version"]
        if before is not None:
            assert version > parse(before)["version"], "the served timestamp went back, or changed within its version"
        found = reachable(tree.files)
        assert after == tree.files.get(f"metadata/{version}.timestamp.json")
        _verify(newest_root(found), "timestamp", _load(after))
        missing = listed_files(tree.files) & tree.stored.keys() - tree.files.keys()
        assert not missing, f"clients are told of {missing}, which are not served"
        meta = parse(found[f"metadata/{version}.snapshot.json"])["meta"]
        known = self._snapshots[str(id(tree))]
        for name, entry in meta.items():
            assert entry["version"] >= known.get(name, 0), f"the snapshot lowers {name}"
        assert not set(known) - set(meta), "the snapshot drops names"
        known.update({name: entry["version"] for name, entry in meta.items()})

    @_noted
    def signed(self, process: Process, keyid: str, payload: bytes) -> None:
        """A key signs."""
        document = json.loads(payload)
        if "_type" not in document:
            assert document["type"] == "claim"
            return
        name, version = process.sealing, document["version"]
        assert version in self._claimed_numbers(), f"{name} {version} is signed and was never claimed"
        if not self._repeating and name in {"snapshot", "the timestamp"}:
            return  # they cover signatures that do not repeat, or their lengths
        signed = self._signed[name, version, keyid]
        signed.add(payload)
        # Other keys may sign a number again once all that signed it were replaced (docs/rules.md, section 7).
        assert len(signed) == 1, f"{name} {version} was signed twice"

    @_noted
    def committed(self, state: sqlite3.Connection) -> None:
        """A follower's state was committed: it must not be ahead of the logs."""
        rows = state.execute("SELECT size, last_event, next_record, digest FROM position").fetchall()
        for size, last_event, next_record, digest in rows:
            for values, end, wanted in (
                (self._events.values, size, last_event),
                (self._publications.values, next_record, digest),
            ):
                assert end <= len(values), "the position is ahead of the log"
                assert sha256(values[end - 1] or b"").hexdigest() == wanted

    def _claimed_numbers(self) -> set[int]:
        """The numbers that were claimed, by whomever."""
        for value in self._publications.values[self._claims_read :]:
            record = decode_publication_record(value)
            if isinstance(record, Record) and isinstance(record.signed, Claim):
                self._claimed.add(record.signed.number)
        self._claims_read = len(self._publications.values)
        return self._claimed

    # --- after a power failure -----------------------------------------------------------------------------------

    def survived(self, tree: Tree) -> None:
        """The power failed: what is served was made durable before the timestamp that leads to it."""
        if TIMESTAMP in tree.files:
            reachable(tree.files)

    # --- at rest -------------------------------------------------------------------------------------------------

    def at_rest(self, trees: Iterable[Tree], now: datetime) -> None:
        """Nothing happens any more by itself: everything is served that should be, and nothing has expired."""
        prefix = self._prefix_at_end()
        if prefix.authority is None:
            return
        for tree in trees:
            assert TIMESTAMP in tree.files, "nothing is served"
            found = reachable(tree.files)
            assert not tree.alarms, f"files had to be replaced: {tree.alarms}"
            size, shown = served_sizes(found)
            held = prefix.size if prefix.held_at is None else prefix.held_at
            assert shown == max(shown, prefix.first_root_size, held), "events are not served"
            assert size == prefix.size or (prefix.held_at is not None and size >= prefix.decided_at), "not covered"
            for path, data in found.items():
                if path.startswith("metadata/"):
                    expires = datetime.fromisoformat(parse(data)["expires"])
                    assert expires > now, f"{path} expired at {expires}, and it is {now}"

    def _prefix_at_end(self) -> Prefix:
        self._prefix, _ = self._prefix.extend(self._events.values[self._prefix.size :])
        return self._prefix

    # --- at the end ----------------------------------------------------------------------------------------------

    def at_end(
        self, trees: Mapping[str, Tree], disks: Mapping[str, DiskContents], project_events: Sequence[tuple[int, bytes]]
    ) -> None:
        """What is served is what the logs say, and every follower says the same about every record."""
        events, publications = self._events.values, self._publications.values
        every = replay(events, publications, skip=False)
        skipped = replay(events, publications, skip=True)
        assert every.numbers == sorted(set(every.numbers)), "publication numbers do not increase"
        assert every.judged == skipped.judged, "skipping lists other records"
        self._check_listed(every)
        for name, disk in disks.items():
            assert judged_rows(disk) == every.judged, f"{name} lists other records than a replay"
            assert not disk.leftover(), f"{name}: kept files are left over that nobody looks for: {disk.leftover()}"
        if not every.numbers:
            return
        expected = reachable(every.files)
        check_signatures(expected)
        assert reachable(skipped.files) == expected, "skipping makes another repository"
        assert plain_pages(skipped.files) == plain_pages(every.files), "skipping makes other plain pages"
        for name, tree in trees.items():
            found = reachable(tree.files)
            assert found == expected, f"{name}: what is served is not what the log says"
            assert plain_pages(tree.files) == plain_pages(every.files), f"{name}: other plain pages"
            strange = [
                path for path, data in tree.files.items() if every.files.get(path, tree.stored.get(path)) != data
            ]
            assert not strange, f"{name} serves files that are not of this log: {strange}"
        self._check_signed(every)
        check_held(events, every.files, every.numbers)
        shown = [(index, value) for index, value in project_events if index < every.head.content_size]
        check_model(every.files, shown, every.publications)
        for tree in trees.values():
            check_withheld(tree, shown)

    def check_told(self, views: Mapping[str, ToldView]) -> None:
        """Every observer was told everything once, and knows from that what every page shows."""
        every = replay(self._events.values, self._publications.values, skip=False)
        judged = [JudgedRow(*row, "") for row in every.judged]
        for name, view in views.items():
            number = 0 if view.last is None else view.last.number
            assert number == max(every.numbers, default=0), f"{name}: its observer was told up to {number}"
            view.check(every.files, judged, set())

    def _check_listed(self, every: Replayed) -> None:
        """Every record that no rule accepts is listed, with a reason."""
        for log, index, digest, _, verdict, code in every.judged:
            values = self._events.values if log == "events" else self._publications.values
            assert sha256(values[index] or b"").hexdigest() == digest
            assert verdict in {"rejected", "no effect"}
            assert code
        listed = {(log, index) for log, index, *_ in every.judged}
        for index, value in enumerate(self._publications.values):
            if not isinstance(decode_publication_record(value), Record):
                assert ("publications", index) in listed
        for index, value in enumerate(self._events.values[: every.head.size]):
            if value is None or not value.startswith(b"{"):
                assert ("events", index) in listed

    def _check_signed(self, every: Replayed) -> None:
        """What was published under a number is what was signed under it."""
        for (name, version, keyid), payloads in self._signed.items():
            role = {"the timestamp": "timestamp"}.get(name, name)
            file = every.files.get(f"metadata/{version}.{role}.json", b"")
            if version in every.numbers and f'"keyid":"{keyid}"'.encode() in file.partition(b',"signed":')[0]:
                (payload,) = payloads
                assert file.endswith(b',"signed":' + payload + b"}"), f"{name} {version} was signed and not published"


def check_signatures(found: Mapping[str, bytes]) -> None:
    """Each file is signed as the one above it demands, from the first root on: python-tuf's model says so."""
    root = newest_root(found)
    timestamp = _load(found[TIMESTAMP])
    _verify(root, "timestamp", timestamp)
    snapshot = _load(found[f"metadata/{timestamp.signed.snapshot_meta.version}.snapshot.json"])
    _verify(root, "snapshot", snapshot)
    targets, bins = (
        _load(found[f"metadata/{snapshot.signed.meta[f'{role}.json'].version}.{role}.json"])
        for role in ("targets", "bins")
    )
    _verify(root, "targets", targets)
    _verify(targets, "bins", bins)
    for name in bin_names(bins.signed.to_dict()):
        version = snapshot.signed.meta[f"{name}.json"].version
        _verify(bins, name, _load(found[f"metadata/{version}.{name}.json"]))


def newest_root(found: Mapping[str, bytes]) -> Metadata[Any]:
    """The last root, if each is signed as it and the one before demand."""
    numbers = range(1, sum(path.endswith(".root.json") for path in found) + 1)
    return _last_of(tuple(found[f"metadata/{number}.root.json"] for number in numbers))


@lru_cache(1000)
def _last_of(roots: tuple[bytes, ...]) -> Metadata[Any]:
    root = _load(roots[0])
    for following in map(_load, roots):
        _verify(root, "root", following)
        _verify(following, "root", following)
        root = following
    return root


def _verify(delegator: Metadata[Any], role: str, delegate: Metadata[Any]) -> None:
    try:
        delegator.verify_delegate(role, delegate)
    except UnsignedMetadataError as error:
        raise AssertionError(f"{role} {delegate.signed.version}: {error}") from error


@lru_cache(1000)
def _load(data: bytes) -> Metadata[Any]:
    return Metadata.from_bytes(data)


def plain_pages(files: Files) -> dict[str, bytes]:
    """The pages under their plain names."""
    return {
        path: data
        for path, data in files.items()
        if path.startswith("targets/") and path.rpartition("/")[2] in {"index.json", "index.html"}
    }


def served_sizes(found: Files) -> tuple[int, int]:
    """How many events the served snapshot covers, and how many it shows."""
    version = parse(found[TIMESTAMP])["version"]
    return stated_sizes(found[f"metadata/{version}.snapshot.json"])


def check_held(events: Sequence[bytes | None], files: Files, numbers: Sequence[int]) -> None:
    """Every publication shows what no hold holds, and no more, read naively."""
    stated = [stated_sizes(files[f"metadata/{number}.snapshot.json"]) for number in numbers]
    ceremonies = [found.index for found in Prefix().extend(events)[1].ceremonies]
    assert [shown for _, shown in stated] == content_sizes(events, ceremonies, [size for size, _ in stated])


def stored_by(values: Iterable[bytes | None]) -> Iterator[tuple[str, bytes]]:
    """The served paths and contents of the files that an index stores before it appends these events. Files with other
    lengths than these contents are elsewhere.
    """
    for value in values:
        if value is None or not value.startswith((b'{"', b'{ "')):
            continue
        try:
            event = json.loads(value)
        except ValueError:
            continue
        if event.get("type") == "file.uploaded.v1":
            file = File(event["data"], "", 0, is_imported=False)
            plain, hashed, *_ = file.served
            name = file.facts["filename"]
            blake, digest = file.facts["hashes"]["blake2b_256"], file.facts["hashes"]["sha256"]
            content = name.encode()  # as `factory.Make.file_uploaded` says
            if digest != sha256(content).hexdigest():
                content = SECOND.encode()
                if blake == factory.digest(f"blake2b {name}"):
                    continue  # other bytes of the same path: they are elsewhere
            if file.facts["length"] == len(content):
                yield from ((plain, content), (hashed, content))
        elif event.get("type") == "target.added.v1":
            folder, _, name = event["subject"].rpartition("/")
            digest = event["data"]["sha256"]
            content = next((each for each in (b"x", b"y") if sha256(each).hexdigest() == digest), b"")
            if event["data"]["length"] == len(content):
                yield f"targets/{folder}/{digest}.{name}", content


def listed_files(files: Files) -> set[str]:
    """The served paths of all files that bins list, apart from pages."""
    names: set[str] = set()
    if TIMESTAMP not in files:
        return names
    for path, (_, digest) in targets_of(files).items():
        folder, _, name = path.rpartition("/")
        if not path.startswith("simple/"):
            names.add(f"targets/{folder}/{digest}.{name}")
    return names


def check_withheld(tree: Tree, project_events: Iterable[tuple[int, bytes]]) -> None:
    """What the rules withhold is kept, and not served; everything else that the index stored is served."""
    model = Model(importing=False, freeable=factory.proofs_of(FREEABLE))
    for index, value in project_events:
        model.add(index, value)
    withheld = model.withheld()
    assert not withheld & tree.files.keys(), "withheld bytes are served"
    for path, data in tree.stored.items():
        folder, _, name = path.rpartition("/")
        # A plain name goes with its bytes, even if its path is another file's by now.
        is_withheld = not withheld.isdisjoint({path, f"{folder}/{sha256(data).hexdigest()}.{name}"})
        assert (tree.evidence if is_withheld else tree.files)[path] == data, f"{path} is lost"


def check_model(
    files: Files, project_events: Iterable[tuple[int, bytes]], publications: Sequence[tuple[int, str, str]]
) -> None:
    """What is served is what the rules say, read naively."""
    model = Model(importing=False, freeable=factory.proofs_of(FREEABLE))
    model.publications = list(publications)
    for index, value in project_events:
        model.add(index, value)
    listed = {"targets/simple/index.json", "targets/simple/index.html"}
    shown = plain_pages(files)
    pages = {path.removeprefix("targets/"): data for path, data in shown.items() if path not in listed}
    assert {path: data for path, data in pages.items() if path.endswith(".json")} == model.json_pages()
    targets = targets_of(files)
    assert {path: each for path, each in targets.items() if not path.startswith("simple/")} == model.file_targets()
    shown_targets = {path.removeprefix("targets/"): target_of(data) for path, data in shown.items()}
    assert {path: each for path, each in targets.items() if path.startswith("simple/")} == shown_targets
