"""`tuf-ledger check-proof`: a fact about a ledger, checked offline."""

from hashlib import sha256
from pathlib import Path

import click

from consumers.cli.options import json_option
from consumers.cli.proven import facts_of, sentences_of
from consumers.cli.shared import print_json, translated
from ledger.clock import SystemClock
from projections.log.merkle import leaf_hash
from projections.log.proof_checking import CheckedProof, check_proof, read_proof
from schemas.errors import NegativeAnswerError


@click.command("check-proof")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--root",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Root that you trust, from your own source: the first one, or a later one up to the proof's.",
)
@click.option(
    "--file",
    "subject",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The target, or the event's record, that you have: it must be the one that the proof is about.",
)
@json_option
def check(*, file: Path, root: Path, subject: Path | None, as_json: bool) -> None:
    """Check a proof that `tuf-ledger prove` made, offline.

    Needs nothing but the file and a root that you trust. Exit code 1 means that the proof does not hold; the message
    names the step that failed. What has expired since is reported, and no reason to refuse: it was proven when it was
    signed.

    \b
    Example:
      tuf-ledger check-proof proof.json --root 1.root.json
      tuf-ledger check-proof proof.json --root 1.root.json --file six-1.17.0-py2.py3-none-any.whl
    """
    with translated():
        checked = check_proof(read_proof(file.read_bytes()), root.read_bytes())
        if subject is not None:
            _compare(checked, subject)
        now = SystemClock().now()
        if as_json:
            print_json({"ok": True, **facts_of(checked, now)})
            return
        click.echo("The proof holds.")
        for sentence in sentences_of(checked, now):
            click.echo(sentence)


def _compare(checked: CheckedProof, subject: Path) -> None:
    """Check that a file is what the proof is about.

    Raises:
        NegativeAnswerError: it is not.
    """
    data = subject.read_bytes()
    if checked.target is not None:
        is_same = (len(data), sha256(data).hexdigest()) == (checked.target.length, checked.target.sha256)
        what = "target"
    else:
        is_same = checked.event is not None and leaf_hash(data).hex() == checked.event.leaf_hash
        what = "record"
    if not is_same:
        raise NegativeAnswerError(f"the proof holds, and {subject} is not the {what} that it is about")
