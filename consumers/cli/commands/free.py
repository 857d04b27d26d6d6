"""`tuf-ledger free`: the name of a removed file is given up."""

from pathlib import Path

import click

from consumers.cli.answers import report
from consumers.cli.options import Acting, acting_options, on_ledger, wait_options
from consumers.context import Context
from consumers.produce.appending import NewEvent, append_all, make_event
from consumers.produce.freeing import FreeableFile, freeable_root, proof_of, read_freeable
from consumers.reading.end import prefix_at_end
from ledger.clock import SystemClock
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("filename", metavar="FILENAME")
@click.option(
    "--list",
    "listed",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The list of files that root allows to be freed, as `ceremony --freeable` took it.",
)
@click.option("--reason", help="Reason, for the log.")
@wait_options
@on_ledger
@acting_options
async def free(
    *,
    filename: str,
    listed: Path,
    reason: str | None,
    context: Context,
    acting: Acting,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Free the name of a removed file, so that other bytes can be uploaded under it.

    Its own bytes never come back, and are no longer served. FILENAME must stand in a list that offline keys have
    signed for (`tuf-ledger ceremony --freeable FILE`). Remove the file first.

    \b
    Example:
      tuf-ledger free six-9.9.tar.gz --list squatted.ndjson --reason "uploaded with a stolen token"
    """
    files = read_freeable(listed)
    await _check_root(context, files, listed)
    chosen = list(dict.fromkeys(each for each in files if each.filename == filename))
    if len(chosen) != 1:
        raise NegativeAnswerError(f"{filename} stands {len(chosen)} times in {listed}: it must stand there once")
    (file,) = chosen
    data = {"filename": filename, "sha256": file.sha256, "proof": proof_of(files, file), "reason": reason}
    kind = "file.freed.v1"
    value = make_event(kind, file.project, data, now=SystemClock().now(), **acting._asdict())
    names = {"project": file.project, "file": filename}
    appended = await append_all(context, [NewEvent(value, kind, f"file.freed {filename}", names)])
    await report(context, appended, wait=wait, wait_seconds=wait_seconds, as_json=as_json)


async def _check_root(context: Context, files: list[FreeableFile], listed: Path) -> None:
    """Check that root allows the files of a list to be freed.

    Raises:
        NegativeAnswerError: it does not.
    """
    authority = (await prefix_at_end(context)).authority
    if authority is None or freeable_root(files) not in authority.settings.freeable:
        raise NegativeAnswerError(
            f"root does not allow the files in {listed} to be freed. Offline keys must sign for this list, unchanged: "
            f"`tuf-ledger ceremony --freeable {listed}`"
        )
