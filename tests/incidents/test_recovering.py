"""A recovery from end to end, over logs in memory and each database: replay, plan, apply, publish, confirm."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from consumers.catalog.filling import Filling
from consumers.incidents.caches import withheld_paths
from consumers.incidents.confirming import confirm
from consumers.incidents.histories import project_history, terms_of
from consumers.incidents.recovering import apply_plan, catch_up
from consumers.incidents.replaying import CleanReplay, Suspected, replay
from consumers.incidents.step_states import StepState, examine, lost_keys_in_force, lost_keys_published
from ledger.catalog.database import Database
from projections.incidents.applying import Making, RecoveryPlan, bind, read_plan, write_plan
from projections.incidents.replays import replay_project
from schemas.errors import NegativeAnswerError
from schemas.plans import PlanHead
from tests.databases import MakeDatabase
from tests.factory import digest, ed25519_signer, encode
from tests.fuzz.world import Signing, World
from tests.incidents.opening import opened

ZEROS = "0" * 64


class Case(NamedTuple):
    """An incident that was opened, and a catalog."""

    world: World
    signing: Signing
    database: Database
    filling: Filling
    opened_idx: int
    suspects: frozenset[int]
    name: str = "theft"

    @property
    def suspected(self) -> Suspected:
        """The incident, with the measures that are on the log."""
        return Suspected(self.name, self.suspects, frozenset(measured(self.world, self.name, self.opened_idx)))

    @property
    def making(self) -> Making:
        return Making(f"nonce-{self.name}", self.name, "2030-02-01T00:00:00Z", "responder")

    async def plan(self) -> tuple[CleanReplay, RecoveryPlan]:
        await catch_up(self.filling)
        made = await self.database.run(replay, self.suspected, self.filling.size, self.making.event)
        head = PlanHead(
            incident=self.name,
            ledger=ZEROS,
            size=self.filling.size,
            root_hash=ZEROS,
            publication=self.filling.number,
            version=1,
            selection=ZEROS,
            expects={each.name: each.expects for each in made.projects},
            targets=tuple(each.path for each in made.targets),
            residuals=tuple(made.residuals),
        )
        return made, read_plan(write_plan(head, made.steps, self.making))

    async def examine(self, plan: RecoveryPlan) -> list[StepState]:
        await catch_up(self.filling)
        return await self.database.run(examine, plan, self.filling.size)


@pytest.fixture
async def case(tmp_path: Path, make_database: MakeDatabase) -> AsyncIterator[Case]:
    """Uploads to two projects; then a thief takes a name, removes a file, yanks a release and adds a target."""
    world = World(tmp_path / "signer")
    world.begin()
    make, database = world.make, make_database()
    async with world.signing() as signing, opened(world, database) as filling:
        await signing.publish(make.file_uploaded("a", "1.0"), make.file_uploaded("b", "1.0"))
        first = len(world.events.values)
        await signing.publish(
            make.file_uploaded("a", "2.0", length=666),
            make.file_removed("a", "a-1.0.tar.gz"),
            make.release_yanked("b", "1.0", "gone"),
            make.target_added("tools/x", "evil"),
            make.access("granted", "thief", kind="credential", account="thief", credential="token-2"),
        )
        suspects = frozenset(range(first, len(world.events.values)))
        await signing.publish(make.file_uploaded("a", "2.0"), make.file_uploaded("a", "3.0"))
        world.add(make.incident_opened("theft"))
        yield Case(world, signing, database, filling, len(world.events.values) - 1, suspects)


def measured(world: World, incident: str, first: int) -> Iterator[int]:
    """The events that name the incident, and are about projects or targets."""
    for index, value in enumerate(world.events.values[first:], first):
        if f'"incident":"{incident}"'.encode() in (value or b"") and b'"type":"incident' not in (value or b""):
            yield index


async def test_a_recovery_is_proven(case: Case) -> None:
    made, plan = await case.plan()
    assert [step.type for step in made.steps] == [
        "file.removed.v1",
        "file.restored.v1",
        "release.unyanked.v1",
        "target.removed.v1",
        "access.revoked.v1",
    ]
    assert [(each.name, each.code) for each in made.residuals] == [("a-2.0.tar.gz", "filename-taken")]
    assert {each.state for each in await case.examine(plan)} == {"fits"}
    before = await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)
    assert not before.holds

    applied = await apply_plan(case.filling, case.database, case.world.events, plan)
    assert (applied.open, applied.appended) == ([], len(plan.steps))
    await case.signing.publish()
    await catch_up(case.filling)
    after = await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)
    assert (after.deviations, after.lower, after.wrong) == ([], [], [])
    assert [each.client for each in after.visits] == [
        "a client that saw the compromise",
        "a client from before",
        "a new client",
    ]
    assert {each.version for each in after.visits} == {case.filling.number}


async def test_applying_twice_appends_nothing(case: Case) -> None:
    _, plan = await case.plan()
    await apply_plan(case.filling, case.database, case.world.events, plan)
    size = case.filling.size
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).appended == 0
    assert case.filling.size == size
    again, _ = await case.plan()
    assert again.steps == []


async def test_what_happened_since_is_never_overwritten(case: Case) -> None:
    _, plan = await case.plan()
    case.world.add(case.world.make.file_uploaded("a", "4.0"), case.world.make.target_added("tools/x", "honest"))
    between = len(case.world.events.values) - 2
    applied = await apply_plan(case.filling, case.database, case.world.events, plan)
    states = {each.step.key: (each.state, each.event) for each in applied.open}
    assert states == {"project:a": ("overtaken", between), "target:tools/x": ("overtaken", between + 1)}
    made, plan = await case.plan()
    assert {step.subject for step in made.steps} == {"a"}
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
    await case.signing.publish()
    await catch_up(case.filling)
    after = await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)
    assert after.holds


@pytest.mark.parametrize("known", range(6))
async def test_an_interrupted_recovery_goes_on(case: Case, known: int) -> None:
    """Whatever part of the records is on the log already, also twice."""
    _, plan = await case.plan()
    values = [each.value for each in bind(plan)]
    case.world.append(*values[:known])
    applied = await apply_plan(case.filling, case.database, case.world.events, plan)
    assert (applied.open, applied.appended) == ([], len(values) - known)
    case.world.append(*values)
    assert {each.state for each in await case.examine(plan)} == {"done"}
    await case.signing.publish()
    await catch_up(case.filling)
    assert (await confirm(case.database, case.suspected, plan.head, case.filling.number, None)).holds


async def test_deleted_steps_are_missed(case: Case) -> None:
    _, plan = await case.plan()
    fewer = RecoveryPlan(plan.head, [step for step in plan.steps if step.event["type"] != "file.restored.v1"])
    assert (await apply_plan(case.filling, case.database, case.world.events, fewer)).open == []
    await case.signing.publish()
    await catch_up(case.filling)
    after = await confirm(case.database, case.suspected, plan.head, case.filling.number, None)
    assert [(name, each.name, each.aspect) for name, each in after.deviations] == [("a", "a-1.0.tar.gz", "bytes")]


async def test_a_measure_of_the_first_minutes_ends_with_the_plan(case: Case) -> None:
    quarantine = case.world.make.having(incident="theft").project_status_changed("a", "quarantined", "look")
    case.world.append(*encode([quarantine]))
    made, plan = await case.plan()
    assert [(step.type, step.data) for step in made.steps if step.subject == "a"][-1] == (
        "project.status_changed.v1",
        {"status": "active"},
    )
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
    await case.signing.publish()
    await catch_up(case.filling)
    assert (await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)).holds


async def recover(case: Case) -> None:
    """Plan, apply, publish, and see that it is proven."""
    _, plan = await case.plan()
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
    await case.signing.publish()
    await catch_up(case.filling)
    found = await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)
    assert (found.deviations, found.lower, found.wrong) == ([], [], [])


async def shown(case: Case, project: str) -> tuple[bool, dict[str, bool]]:
    """Whether a project exists, and its files with whether they are there."""
    await catch_up(case.filling)
    history = await case.database.run(project_history, project)
    replayed = replay_project(project, history.items, await case.database.run(terms_of))
    return replayed.header.exists, {name: not facts.removed for name, facts in replayed.files.items()}


async def test_incidents_overlap(case: Case) -> None:
    """Each is recovered from by itself; the measures of one are ordinary events for the other."""
    both = case.suspects | {min(case.suspects) - 1}  # also the honest upload of `b` before
    await recover(case)
    make = case.world.make
    case.world.append(*encode([make.incident_opened("second")]))
    other = case._replace(name="second", opened_idx=len(case.world.events.values) - 1, suspects=frozenset(both))
    await recover(other)
    assert (await shown(case, "b")) == (False, {"b-1.0.tar.gz": False})
    assert (await shown(case, "a")) == (
        True,
        {"a-1.0.tar.gz": True, "a-2.0.tar.gz": False, "a-3.0.tar.gz": True},
    )


async def test_a_recovery_can_be_an_incident(case: Case) -> None:
    """A plan that was wrong is taken back: what it did is the list of another incident."""
    before = [await shown(case, name) for name in ("a", "b")]
    await recover(case)
    assert [await shown(case, name) for name in ("a", "b")] != before
    measures = case.suspected.measures
    case.world.append(*encode([case.world.make.incident_opened("mistake")]))
    await recover(case._replace(name="mistake", opened_idx=len(case.world.events.values) - 1, suspects=measures))
    assert [await shown(case, name) for name in ("a", "b")] == before


async def test_a_project_that_a_suspect_removed_exists_again(case: Case) -> None:
    case.world.add(case.world.make.project_removed("b", withhold=True))
    index = len(case.world.events.values) - 1
    await case.signing.publish()
    await recover(case._replace(suspects=case.suspects | {index}))
    assert (await shown(case, "b")) == (True, {"b-1.0.tar.gz": True})


async def test_a_project_that_its_owner_removed_stays_removed(case: Case) -> None:
    """What a suspect left in it is withheld."""
    await case.signing.publish(case.world.make.project_removed("a"))
    made, _ = await case.plan()
    assert [(step.type, step.data) for step in made.steps if step.subject == "a"] == [
        ("file.removed.v1", {"filename": "a-2.0.tar.gz", "withhold": True})
    ]
    await recover(case)
    assert (await shown(case, "a"))[0] is False


async def test_a_measure_about_something_else_ends_with_the_plan_too(case: Case) -> None:
    """A thief may name the incident, and a responder may hide what turns out to be untouched."""
    labelled = case.world.make.having(incident="theft")
    case.world.append(*encode([labelled.file_uploaded("c", "1.0"), labelled.target_added("tools/y", "evil")]))
    case.world.append(*encode([labelled.access("granted", "thief", account="thief")]))
    made, plan = await case.plan()
    assert [step.type for step in made.steps if step.subject in {"c", "tools/y"}] == [
        "project.removed.v1",
        "target.removed.v1",
    ]
    assert [step.data["account"] for step in made.others] == ["thief", "thief"]
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
    await case.signing.publish()
    await catch_up(case.filling)
    assert (await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)).holds
    again, _ = await case.plan()
    assert (again.steps, [each.code for each in again.residuals]) == ([], ["filename-taken"])


async def test_what_names_the_incident_after_the_plan_is_missed(case: Case) -> None:
    _, plan = await case.plan()
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
    labelled = case.world.make.having(incident="theft")
    await case.signing.publish(labelled.file_uploaded("c", "1.0"), labelled.target_added("tools/y", "evil"))
    await catch_up(case.filling)
    after = await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)
    assert [(name, each.aspect) for name, each in after.deviations] == [
        ("c", "existence"),
        ("c", "bytes"),
        ("tools/y", "bytes"),
    ]


async def test_no_residual_explains_malware_that_is_offered_again(case: Case) -> None:
    """That a name is taken says why the honest file is not there, and not that the thief's may be."""
    _, plan = await case.plan()
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
    evil = case.world.make.file_uploaded("a", "2.0").data.hashes.sha256
    await case.signing.publish(case.world.make.file_restored("a", "a-2.0.tar.gz", evil))
    await catch_up(case.filling)
    after = await confirm(case.database, case.suspected, plan.head, case.filling.number, case.world.storage)
    assert [(name, each.name, each.aspect) for name, each in after.deviations] == [("a", "a-2.0.tar.gz", "facts")]


async def test_a_right_that_somebody_had_before_is_kept(case: Case) -> None:
    """A revocation ends a right, whoever granted it: also the owner's, which a thief granted once more."""
    make = case.world.make
    first = len(case.world.events.values)
    rights = [make.access("granted", "alice", account=name, project="a") for name in ("alice", "alice", "bob", "bob")]
    revoked = make.access("revoked", "bob", account="bob", project="a")
    case.world.add(rights[0], rights[1], rights[2], revoked, rights[3])
    suspects = {first + 1, first + 4}
    made, _ = await case._replace(suspects=case.suspects | suspects).plan()
    assert [step.data["account"] for step in made.others] == ["thief", "bob"]


async def test_what_is_served_may_be_newer(case: Case) -> None:
    """What a client is shown is compared with the publication that it is shown, and that one is judged."""
    _, plan = await case.plan()
    await apply_plan(case.filling, case.database, case.world.events, plan)
    await case.signing.publish()
    await catch_up(case.filling)
    number = case.filling.number
    await case.signing.publish(case.world.make.file_restored("a", "a-2.0.tar.gz", digest("a-2.0.tar.gz")))

    async def refresh() -> None:
        await catch_up(case.filling)

    behind = await confirm(case.database, case.suspected, plan.head, number, case.world.storage)
    assert (behind.publication, len(behind.wrong)) == (number, 3)
    now = await confirm(case.database, case.suspected, plan.head, number, case.world.storage, refresh=refresh)
    assert (now.publication, now.wrong) == (number + 1, [])
    assert [each.name for _, each in now.deviations] == ["a-2.0.tar.gz"]


async def test_nothing_is_proven_where_nothing_is_published(case: Case) -> None:
    _, plan = await case.plan()
    with pytest.raises(NegativeAnswerError, match="nothing is published yet"):
        await confirm(case.database, case.suspected, plan.head, 0, None)


async def test_what_another_project_offers_need_not_be_purged(case: Case) -> None:
    """A legacy name can share the path of an honest file."""
    make = case.world.make
    first = len(case.world.events.values)
    legacy = make.file_uploaded("a", "b-1.0", filename="a-b-1.0.tar.gz", legacy=True)
    await case.signing.publish(legacy, make.file_uploaded("a-b", "1.0"))
    case = case._replace(suspects=case.suspects | {first})
    _, plan = await case.plan()
    await apply_plan(case.filling, case.database, case.world.events, plan)
    paths = await case.database.run(withheld_paths, case.suspects)
    assert [path for path in paths if "a-2.0" in path]
    assert not [path for path in paths if "a-b-1.0" in path]


async def test_a_lost_key_is_one_until_a_publication_has_the_root_without_it(case: Case) -> None:
    """Real ceremonies only append; clients believe the key until the next publication."""
    (old,) = (each.public_key.keyid for each in case.world.team.online)
    _, plan = await case.plan()
    head = msgspec.structs.replace(plan.head, lost_keys=(old,))
    case.world.hold_ceremony(case.world.team.but(online=(ed25519_signer("another"),)), case.signing.authority)
    await catch_up(case.filling)
    assert await case.database.run(lost_keys_in_force, head) == []
    assert await case.database.run(lost_keys_published, head) == [old]
    await case.signing.publish()
    await catch_up(case.filling)
    assert await case.database.run(lost_keys_published, head) == []


async def test_a_right_that_was_left_is_missed(case: Case) -> None:
    _, plan = await case.plan()
    fewer = RecoveryPlan(plan.head, [step for step in plan.steps if step.event["type"] != "access.revoked.v1"])
    await apply_plan(case.filling, case.database, case.world.events, fewer)
    await case.signing.publish()
    await catch_up(case.filling)
    after = await confirm(case.database, case.suspected, plan.head, case.filling.number, None)
    assert [(about, each.what, each.aspect) for about, each in after.deviations] == [("thief", "right", "existence")]


async def test_an_older_publication_proves_nothing(case: Case) -> None:
    _, plan = await case.plan()
    number = case.filling.number
    after = await confirm(case.database, case.suspected, plan.head, number - 1, None)
    assert {"snapshot", "timestamp"} <= set(after.lower)


async def test_a_right_that_a_suspect_ended_is_named(case: Case) -> None:
    first = len(case.world.events.values)
    case.world.add(case.world.make.access("revoked", "alice", account="alice", project="a"))
    made, _ = await case._replace(suspects=case.suspects | {first}).plan()
    assert [each.about for each in made.residuals if each.code == "revoked"] == ["access:alice"]


async def test_a_step_that_was_rejected_is_not_done(case: Case) -> None:
    _, plan = await case.plan()
    case.world.add(case.world.make.file_uploaded("a", "4.0"))
    case.world.append(*(each.value for each in bind(plan)))
    states = {each.step.key: each.state for each in await case.examine(plan)}
    assert (states["project:a"], states["project:b"]) == ("overtaken", "done")


async def test_a_target_that_is_half_recovered_goes_on(case: Case) -> None:
    """The thief's bytes are withheld, and the honest ones are not there again."""
    make, first = case.world.make, len(case.world.events.values)
    case.world.add(make.target_added("tools/z", "honest"), make.target_added("tools/z", "evil"))
    case = case._replace(suspects=case.suspects | {first + 1})
    _, plan = await case.plan()
    removed, added = (each for each in bind(plan) if each.key == "target:tools/z")
    case.world.append(removed.value)
    states = {each.step.digest: each.state for each in await case.examine(plan)}
    assert (states[removed.digest], states[added.digest]) == ("done", "fits")
    assert (await apply_plan(case.filling, case.database, case.world.events, plan)).open == []
