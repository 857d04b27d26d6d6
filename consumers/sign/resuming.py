"""Two numbers that a signer minds after the log lost served publications: up to which they are lost, and above which
publications go on (`tuf-ledger resume`). Each has its own file in the folder of state files, because a state file may
be deleted.
"""

from pathlib import Path

from ledger.disk.files import may_pass, storage_error, writing
from ledger.disk.syncing import sync_file, sync_folder
from ledger.state import StoreError

_RESUMED = "resumed-above"
_LOST = "lost-up-to"


def resumed_above(folder: Path) -> int:
    """The number that `tuf-ledger resume` set and that still applies; 0 if no number is set.

    Raises:
        StoreError: the file does not hold a number.
    """
    return _read(folder / _RESUMED, "run `tuf-ledger resume` to write it again")


def lost_up_to(folder: Path) -> int:
    """The last publication that clients have seen and a restored log does not have; 0 if none is known to be lost.

    Raises:
        StoreError: the file does not hold a number.
    """
    return _read(folder / _LOST, "write the highest version that was ever served into it")


def note_resumed(folder: Path, above: int | None) -> None:
    """Set the number that the next publication must exceed. None: clients have seen one that does; nothing is lost now.

    Raises:
        StorageError: the file cannot be written; the old number stays.
    """
    if above is not None:
        _write(folder / _RESUMED, above)
        return
    for name in (_LOST, _RESUMED):
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)


def note_lost(folder: Path, number: int) -> None:
    """Set the last publication that is lost: nothing is signed before somebody has resumed above it.

    Raises:
        StorageError: the file cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _LOST, number)


def _read(path: Path, advice: str) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and may_pass(error):
            raise storage_error(path, "read", error) from error
        raise StoreError(f"{path} does not hold a number: {advice}") from error


def _write(path: Path, number: int) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        with writing(path):
            new.write_text(f"{number}\n", encoding="ascii")
            sync_file(new)
            new.replace(path)
            sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)
