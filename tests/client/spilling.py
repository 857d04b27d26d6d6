"""The command line, with thresholds so low that everything is spilled, and folded and sealed in processes."""

from consumers.cli.main import main
from consumers.context import Context
from consumers.limits import LIMITS
from consumers.work import processes

if __name__ == "__main__":
    Context.limits = LIMITS._replace(tail_bytes=0)
    processes.WORTH_ROUNDS = 1
    main(prog_name="tuf-ledger")
