"""The number that publications go on above, after the log lost some that were served (`tuf-ledger resume`)."""

from pathlib import Path

from ledger.state import StoreError

_RESUMED = "resumed-above"


def resumed_above(folder: Path) -> int:
    """The number that `tuf-ledger resume` set and that is still of interest; 0 if there is none.

    Args:
        folder: that of the state files. The number is in a file of its own: a state file may be thrown away.

    Raises:
        StoreError: the file holds something else.
    """
    path = folder / _RESUMED
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as a number: `tuf-ledger resume` writes it") from error


def note_resumed(folder: Path, above: int | None) -> None:
    """Set the number that the next publication must be above, or take it away."""
    if above is None:
        (folder / _RESUMED).unlink(missing_ok=True)
    else:
        (folder / _RESUMED).write_text(f"{above}\n", encoding="ascii")
