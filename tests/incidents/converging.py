"""Plans, made and played in memory: does the log end where it would be without the suspects?"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from projections.incidents.applying import BoundStep, Making, RecoveryPlan, bind, read_plan, write_plan
from projections.incidents.planning import ProjectHistory, ProjectPlan, TargetPlan, plan_project, plan_target
from projections.incidents.replays import (
    ProjectReplay,
    deviations,
    is_same_file,
    replay_project,
    replay_target,
    without,
)
from projections.log.operations import PROJECT_KEYS
from projections.log.reading import Routed, read_records
from projections.outcomes import ACCEPTED, Outcome
from projections.roles.authority import Terms
from schemas.plans import PlanHead

ZEROS = "0" * 64
ANY_BYTES = ("bytes",)
EXPLAINED = {
    "spelling": ("spelling",),
    "upload-time": ("upload-time",),
    "uploaded-again": (),
    "differs": (),
}
"""Which deviations each code of a residual explains; all others explain that a file is another one, or none."""
MAKING = Making("nonce", "incident-1", "2026-11-28T00:00:00Z", "responder")


class World(NamedTuple):
    """A log, and the settings by which its events are judged. Record 0 is the ledger's own."""

    values: Sequence[bytes]
    terms: Sequence[Terms]

    def by_key(self) -> dict[str, list[Routed]]:
        """The events by aggregate."""
        found: dict[str, list[Routed]] = {}
        for item in read_records(0, self.values).routed:
            found.setdefault(item.key, []).append(item)
        return found

    def and_then(self, values: Sequence[bytes]) -> "World":
        """The same log, and more behind it."""
        return World([*self.values, *values], self.terms)


class Planned(NamedTuple):
    """Plans for all that suspects touched, as one file."""

    projects: list[ProjectPlan]
    targets: list[TargetPlan]
    plan: RecoveryPlan
    records: list[BoundStep]


def touched(world: World, suspects: Collection[int]) -> list[str]:
    """The keys of the projects and targets that suspects are about."""
    keys = {item.key for items in world.by_key().values() for item in items if item.index in suspects}
    return sorted(key for key in keys if key.startswith((PROJECT_KEYS, "target:")))


def plan(world: World, suspects: Collection[int], making: Making = MAKING) -> Planned:
    """RecoveryPlan the recovery of everything that suspects touched."""
    by_key, records = world.by_key(), dict(enumerate(world.values))
    projects, targets = [], []
    for key in touched(world, suspects):
        kind, _, name = key.partition(":")
        if kind == "project":
            history = ProjectHistory(name, by_key[key], records)
            projects.append(plan_project(history, suspects, world.terms, len(world.values), making.event))
        else:
            targets.append(plan_target(name, by_key[key], suspects))
    head = PlanHead(
        incident="incident-1",
        ledger=ZEROS,
        size=len(world.values),
        root_hash=ZEROS,
        publication=1,
        version=1,
        selection=ZEROS,
        expects={each.name: each.expects for each in projects},
        residuals=tuple(residual for each in projects for residual in each.residuals),
    )
    drafts = [step for each in projects for step in each.steps] + [step for each in targets for step in each.steps]
    read = read_plan(write_plan(head, drafts, making))
    return Planned(projects, targets, read, bind(read))


def outcomes(world: World) -> dict[int, Outcome]:
    """What became of every event about a project or a target."""
    found: dict[int, Outcome] = {}
    for key, items in world.by_key().items():
        if key.startswith(PROJECT_KEYS):
            found |= replay_project(key.removeprefix(PROJECT_KEYS), items, world.terms).outcomes
        elif key.startswith("target:"):
            found |= replay_target(items).outcomes
    return found


def unexplained(world: World, suspects: Collection[int], planned: Planned) -> list[object]:
    """Where the log does not end as it would without suspects and the plan's own records, and no residual says so."""
    own = {record.digest for record in planned.records}
    by_key = world.by_key()
    found: list[object] = []
    for project in planned.projects:
        items = by_key[f"project:{project.name}"]
        left_out = {*suspects, *(item.index for item in items if item.digest in own)}
        live = replay_project(project.name, items, world.terms)
        clean = replay_project(project.name, without(items, left_out, live.outcomes), world.terms)
        said = {(each.name, aspect) for each in project.residuals for aspect in EXPLAINED.get(each.code, ANY_BYTES)}
        found += [
            each
            for each in deviations(live, clean)
            if (each.name, each.aspect) not in said or (each.aspect == "bytes" and each.live)
        ]
        found += _still_served(live, clean)
    for target in planned.targets:
        items = by_key[f"target:{target.path}"]
        left_out = {*suspects, *(item.index for item in items if item.digest in own)}
        there = replay_target(items)
        wanted = replay_target(without(items, left_out, there.outcomes))
        if there.offered != wanted.offered:
            found.append((target.path, there.offered, wanted.offered))
        elif there.facts is not None and not (there.offered or there.facts.withheld):
            was_withheld = wanted.facts is not None and wanted.facts == msgspec.structs.replace(
                there.facts, withheld=True
            )
            found += [(target.path, "is not withheld")] if was_withheld or wanted.facts is None else []
    return found


def _still_served(live: ProjectReplay, clean: ProjectReplay) -> Iterator[object]:
    """Files of which the bytes are served, and would not be without suspects."""
    for name, facts in live.files.items():
        wanted = clean.files.get(name)
        is_other = wanted is None or not is_same_file(facts, wanted)
        if not (facts.withheld or facts.freed) and (is_other or (wanted is not None and wanted.withheld)):
            yield name, "is not withheld"


def accepted(world: World, records: Sequence[BoundStep], start: int) -> list[tuple[BoundStep, Outcome]]:
    """The records that were not accepted, of those that stand on the log from an index on."""
    known = outcomes(world)
    return [(each, known[start + at]) for at, each in enumerate(records) if known[start + at] is not ACCEPTED]
