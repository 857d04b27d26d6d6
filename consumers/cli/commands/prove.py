"""`tuf-ledger prove`: a file by which others check a fact offline."""

import re
from pathlib import Path

import click
import msgspec

from consumers.catalog.asking import Asked
from consumers.cli.options import on_catalog
from consumers.cli.proven import facts_of, sentences_of
from consumers.cli.shared import Usage, print_json
from consumers.context import Context
from consumers.prove.proving import Proven, prove_consistency
from consumers.prove.proving import prove as prove_fact
from consumers.state.furthest import open_events
from ledger.clock import SystemClock
from ledger.disk.files import write_file, writing


@click.command()
@click.argument("what", metavar="EVENT|PATH[@N]", required=False)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the proof is written.",
)
@click.option(
    "--publication",
    "number",
    type=click.IntRange(min=1),
    metavar="N",
    help="Prove it of this publication.  [default: the last one]",
)
@click.option(
    "--no-record", "without_record", is_flag=True, help="Leave out the event's record: only its hash is shown."
)
@click.option(
    "--consistency",
    nargs=2,
    type=click.IntRange(min=1),
    metavar="A B",
    help="Prove that publication B begins with the events of publication A.",
)
@on_catalog
async def prove(
    *,
    what: str | None,
    target: Path,
    number: int | None,
    without_record: bool,
    consistency: tuple[int, int] | None,
    context: Context,
    asked: Asked,
    as_json: bool,
) -> None:
    """Prove that an event is on the log, or that a target is offered, to people who have only a root.

    EVENT is an event's index or id. PATH is a target path, as bins list it: the proof then also has the event that the
    target comes from (for a project's page, the last event that it shows). EVENT@N and PATH@N are short for
    --publication N. `tuf-ledger check-proof` checks the file offline; docs/proofs.md says how to do it by other means.

    \b
    Example:
      tuf-ledger prove 17 --to proof.json
      tuf-ledger prove simple/six/index.json@4711 --to proof.json
      tuf-ledger prove --consistency 4000 4711 --to proof.json
    """
    if (what is None) == (consistency is None):
        raise Usage("name an event or a target path, or two publications with --consistency")
    if consistency is not None and (number is not None or without_record):
        raise Usage("--consistency names both publications, and has no record")
    if consistency is not None and consistency[0] > consistency[1]:
        raise Usage("--consistency: name the earlier publication first")
    async with open_events(context) as events:
        if consistency is not None:
            proven = await prove_consistency(asked, events, *consistency)
        else:
            fact, number = _split(what or "", number)
            proven = await prove_fact(asked, events, fact, number=number, with_record=not without_record)
    _write(proven, target)
    now = SystemClock().now()
    if as_json:
        print_json({"ok": True, **facts_of(proven.checked, now)})
        return
    for sentence in sentences_of(proven.checked, now):
        click.echo(sentence)
    click.echo(f"The proof is in {target}. Check it: `tuf-ledger check-proof {target} --root FIRST-ROOT`.")


def _split(what: str, number: int | None) -> tuple[str, int | None]:
    """Read WHAT@N. With --publication, an `@` is part of the name."""
    found = re.fullmatch(r"(.+)@([1-9][0-9]{0,15})", what)
    if number is not None or found is None:
        return what, number
    return found[1], int(found[2])


def _write(proven: Proven, target: Path) -> None:
    data = msgspec.json.encode(proven.proof) + b"\n"
    new = target.with_name(f".{target.name}.new")
    with writing(target):
        write_file(str(new), data)
        new.replace(target)
