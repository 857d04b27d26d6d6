"""Logs that were rolled back are noticed by a record that is known (docs/design.md, "Rolled-back logs are noticed")."""

from ledger.logs import Log, LogConflictError, record_is_gone
from projections.log.merkle import record_digest


async def compare_record(source: Log, index: int, digest: str) -> None:
    """Make sure that a log still has a record.

    Raises:
        LogConflictError: the record is gone, or another one.
    """
    try:
        found = await source.read(index)
    except LogConflictError:
        found = []
    if not found:
        raise record_is_gone(source.name, index)
    if record_digest(found[0]) != digest:
        raise LogConflictError(
            f"record {index} of {source.name} is not the one it was. Was a backup restored and appended to? "
            "See docs/operators.md, 'A log was rolled back'"
        )
