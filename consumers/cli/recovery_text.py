"""Printing replays and plans of incidents, for people and for machines."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from consumers.cli.paging import shown
from consumers.cli.shared import plural
from consumers.incidents.replaying import CleanReplay
from consumers.incidents.step_states import StepState
from projections.incidents.planning import StepDraft
from projections.incidents.replays import Deviation, Flip, deviations
from projections.outcomes import Outcome
from schemas.plans import Residual

_STATES = {"done": "green", "fits": "cyan", "overtaken": "red", "refused": "red"}


def replay_lines(made: CleanReplay) -> Iterator[str]:
    """What the log says against what it should say, flips first."""
    if not (made.projects or made.targets):
        yield "Suspects touched no project and no other target."
    for project in made.projects:
        yield click.style(shown(project.name), bold=True)
        for flip in project.flips:
            yield f"    {_flip(flip)}"
        different = deviations(project.live, project.clean)
        for each in different:
            yield shown(f"    {deviation_text(each)}")
        if not different:
            yield "    the index shows what it should show"
    for target in made.targets:
        yield click.style(shown(target.path), bold=True)
        now, clean = target.live.offered, target.clean.offered
        if now == clean:
            yield "    it is what it should be"
        else:
            yield f"    SHA-256 {now.sha256 if now else 'none'}, and should be {clean.sha256 if clean else 'none'}"


def _flip(flip: Flip) -> str:
    became, would = _outcome(flip.live), _outcome(flip.clean)
    return f"event {flip.event} was {click.style(became, fg='red')}; without the suspects: {would}"


def _outcome(outcome: Outcome) -> str:
    return f"{outcome.verdict} ({outcome.code})" if outcome.code else outcome.verdict


def deviation_text(each: Deviation) -> str:
    """A deviation in one line."""
    what = f"{each.what} {each.name}" if each.name else f"the {each.what}"
    if each.aspect == "existence":
        return f"{what} exists, and should not" if each.live else f"{what} does not exist, and should"
    if each.aspect == "bytes":
        if not (each.live and each.clean):
            digest, is_there = each.live or each.clean, bool(each.live)
            offered = "is offered, and should not be" if is_there else "is not offered, and should be"
            return f"{what} {offered} (SHA-256 {digest})"
        return f"{what} has SHA-256 {each.live}, and should have {each.clean}"
    return f"{what}: {each.aspect} is {each.live or 'not set'}, and should be {each.clean or 'not set'}"


def replay_json(made: CleanReplay) -> Iterator[dict[str, Any]]:
    """The same for machines, project by project and target by target."""
    for project in made.projects:
        yield {
            "project": project.name,
            "flips": _flips_json(project.flips),
            "deviations": [each._asdict() for each in deviations(project.live, project.clean)],
        }
    for target in made.targets:
        now, clean = target.live.offered, target.clean.offered
        pair = {"live": now.sha256 if now else "", "clean": clean.sha256 if clean else ""}
        found = [] if now == clean else [{"what": "target", "name": target.path, "aspect": "bytes", **pair}]
        yield {"target": target.path, "flips": _flips_json(target.flips), "deviations": found}


def _flips_json(flips: Iterable[Flip]) -> list[dict[str, Any]]:
    return [{"event": each.event, "live": _outcome(each.live), "clean": _outcome(each.clean)} for each in flips]


def plan_lines(made: CleanReplay) -> Iterator[str]:
    """The steps of a plan and what it leaves undone."""
    for project in made.projects:
        yield from _steps(project.name, project.steps)
    for target in made.targets:
        yield from _steps(target.path, target.steps)
    for step in made.others:
        yield f"{shown(step.subject)}: {step_text(step)}"
    yield from residual_lines(made.residuals)


def _steps(name: str, steps: Sequence[StepDraft]) -> Iterator[str]:
    yield click.style(shown(name), bold=True) + ("" if steps else ": nothing to do")
    for step in steps:
        yield f"    {step_text(step)}"


def step_text(step: StepDraft) -> str:
    """A step in one line."""
    about = step.data.get("filename", step.data.get("version", step.data.get("status", "")))
    withhold = ", bytes withheld" if step.data.get("withhold") else ""
    return shown(f"{step.type.removesuffix('.v1')} {about}{withhold}: {step.why}")


def residual_lines(residuals: Sequence[Residual]) -> Iterator[str]:
    """What steps leave undone."""
    if not residuals:
        return
    yield click.style(f"{plural(len(residuals), 'residual')}: what no step repairs", fg="yellow")
    for each in residuals:
        yield shown(f"    {each.code}: {each.detail}")
        yield shown(f"        {each.remedy}")


def state_lines(states: Iterable[StepState]) -> Iterator[str]:
    """Where each step of a plan stands."""
    for each in states:
        yield f"step {each.step.step}  {click.style(each.state, fg=_STATES[each.state])}  {_state(each)}"


def _state(each: StepState) -> str:
    about = f"{each.step.type.removesuffix('.v1')} about {each.step.key.partition(':')[2]}"
    if each.state == "done":
        return shown(f"{about}: event {each.event}")
    if each.state == "overtaken":
        return shown(f"{about}: event {each.event} came in between")
    return shown(f"{about}: {each.detail or each.step.why}")


def state_json(each: StepState) -> dict[str, Any]:
    """Where a step of a plan stands, for machines."""
    facts = {"step": each.step.step, "about": each.step.key, "type": each.step.type, "digest": each.step.digest}
    return {**facts, "state": each.state, "event": each.event, "why": each.detail or each.step.why}
