"""Plans as files: what a program wrote is read, and what a person made of it is read or refused in a sentence."""

import pytest

from projections.incidents.applying import Making, UnreadablePlanError, bind, read_plan, write_plan
from projections.incidents.planning import StepDraft
from schemas.plans import PlanHead, Residual

ZEROS = "0" * 64
MAKING = Making("nonce", "theft", "2030-02-01T00:00:00Z", "responder")
STEPS = [StepDraft("project.removed.v1", name, {"withhold": True}, "only suspects made it") for name in ("a", "b")]


def written(residuals: int = 0, projects: int = 2) -> bytes:
    head = PlanHead(
        incident="theft",
        ledger=ZEROS,
        size=9,
        root_hash=ZEROS,
        publication=1,
        version=1,
        selection=ZEROS,
        expects={"a": ZEROS, "b": ZEROS} | {f"p{number}": ZEROS for number in range(projects - 2)},
        residuals=(Residual(about="project:a", code="filename-taken", detail="x" * 80, remedy="x" * 80),) * residuals,
    )
    return write_plan(head, STEPS, MAKING)


@pytest.mark.parametrize(("residuals", "projects"), [(0, 2), (20_000, 2), (0, 20_000)])
def test_what_is_written_is_read(residuals: int, projects: int) -> None:
    plan = read_plan(written(residuals, projects))
    assert (len(plan.steps), len(plan.head.residuals), len(plan.head.expects)) == (2, residuals, projects)
    assert [step.key for step in bind(plan)] == ["project:a", "project:b"]


def test_editors_do_no_harm() -> None:
    data = written()
    wanted = read_plan(data)
    assert read_plan(b"\xef\xbb\xbf" + data) == wanted
    assert read_plan(data.replace(b"\n", b"\r\n")) == wanted
    assert read_plan(data.replace(b"\n", b"\n\n")) == wanted


@pytest.mark.parametrize(
    "value", ["9" * 30, "[" * 300 + "]" * 300, "[" * 30_000 + "]" * 30_000, '"' + "x" * 2**20 + '"']
)
def test_strange_values_are_refused(value: str) -> None:
    changed = written().replace(b'"specversion"', b'"extension":' + value.encode() + b',"specversion"', 1)
    with pytest.raises(UnreadablePlanError, match=r"no step|no event|longer than"):
        bind(read_plan(changed))


def test_a_strange_head_is_refused() -> None:
    with pytest.raises(UnreadablePlanError, match="line 1"):
        read_plan(b"[" * 30_000)


def test_no_id_tells_another_one() -> None:
    """The first step on the log is seen by everybody: who can guess the id of a later one can take it before."""
    ids = [step.event["id"] for step in read_plan(written()).steps]
    assert not any("nonce" in each for each in ids)
    assert ids[0][:8] != ids[1][:8]
