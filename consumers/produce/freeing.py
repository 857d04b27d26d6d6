"""Lists of files that may be freed: what root names, and the proofs that events carry (docs/rules.md, 3)."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from projections.log.proofs import freeable_leaf, prove, tree_root
from schemas.errors import NegativeAnswerError
from schemas.fields import Filename, ProjectName, Sha256


class _Line(msgspec.Struct):
    """A line of a list. Other members, which `tuf-ledger status --json` prints too, are ignored."""

    project: ProjectName
    file: Filename
    sha256: Sha256


_decoder = msgspec.json.Decoder(_Line)


class FreeableFile(NamedTuple):
    """A file that may be freed: its project, its name, and its SHA-256."""

    project: str
    filename: str
    sha256: str


def read_freeable(path: Path) -> list[FreeableFile]:
    """Read a list: a JSON object a line, with `project`, `file` and `sha256`.

    Raises:
        NegativeAnswerError: the file cannot be read, is empty, or has another line.
    """
    try:
        lines = _decoder.decode_lines(path.read_bytes())
    except OSError as error:
        raise NegativeAnswerError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise NegativeAnswerError(
            f"{path} is no list of files: {error}. Each line is a JSON object with `project`, `file` and `sha256`"
        ) from error
    if not lines:
        raise NegativeAnswerError(f"{path} lists no file")
    return [FreeableFile(each.project, each.file, each.sha256) for each in lines]


def freeable_root(files: list[FreeableFile]) -> str:
    """The Merkle root of a list, which root names."""
    return tree_root(_leaves(files))


def proof_of(files: list[FreeableFile], file: FreeableFile) -> dict[str, object]:
    """The proof that a file is in a list, as an event has it."""
    found = prove(_leaves(files), files.index(file))
    return {"leaf": found.leaf, "size": found.size, "path": list(found.path)}


def _leaves(files: list[FreeableFile]) -> list[bytes]:
    return [freeable_leaf(each.sha256, each.project, each.filename) for each in files]
