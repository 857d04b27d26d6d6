"""The command line, with thresholds so low that everything is spilled, and folded and sealed in processes."""

from consumers.cli.main import main
from consumers.reading import tail
from consumers.work import processes

if __name__ == "__main__":
    tail.KEPT_BYTES = 0
    processes.WORTH_ROUNDS = 1
    main(prog_name="tuf-ledger")
