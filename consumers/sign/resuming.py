"""The number above which publications go on after the log lost served publications (`tuf-ledger resume`)."""

from pathlib import Path

from ledger.disk.files import may_pass, storage_error, writing
from ledger.disk.syncing import sync_file, sync_folder
from ledger.state import StoreError

_RESUMED = "resumed-above"


def resumed_above(folder: Path) -> int:
    """The number that `tuf-ledger resume` set and that still applies; 0 if no number is set.

    Args:
        folder: the folder of state files. The number has its own file, because a state file may be deleted.

    Raises:
        StoreError: the file does not hold a number.
    """
    path = folder / _RESUMED
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and may_pass(error):
            raise storage_error(path, "read", error) from error
        raise StoreError(f"{path} does not hold a number: run `tuf-ledger resume` to write it again") from error


def note_resumed(folder: Path, above: int | None) -> None:
    """Set the number that the next publication must exceed, or delete it (None).

    Raises:
        StorageError: the file cannot be written; the old number stays.
    """
    path = folder / _RESUMED
    if above is None:
        with writing(path):
            path.unlink(missing_ok=True)
        return
    new = path.with_name(f"{_RESUMED}.new")
    try:
        with writing(path):
            new.write_text(f"{above}\n", encoding="ascii")
            sync_file(new)
            new.replace(path)
            sync_folder(folder)
    finally:
        new.unlink(missing_ok=True)
