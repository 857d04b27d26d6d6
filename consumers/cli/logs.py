"""How commands log: for people on a terminal, as JSON otherwise."""

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from ledger.config import LoggingSection


def configure_logging(section: "LoggingSection", *, default_level: str | None = None) -> None:
    """Send logs to standard error.

    Args:
        section: the settings.
        default_level: the level that is used unless the settings name another one than `info`.
    """
    level = default_level if default_level and section.level == "info" else section.level
    is_terminal = sys.stderr.isatty()
    is_human = section.format == "console" or (section.format == "auto" and is_terminal)
    # Libraries log through the standard library. Everything that matters reaches us as an exception.
    logging.getLogger().addHandler(logging.NullHandler())
    for name in ("aiokafka", "securesystemslib", "tuf", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    renderers: list[structlog.types.Processor]
    if is_human:
        renderers = [structlog.dev.ConsoleRenderer(colors=is_terminal)]
    else:  # in all output for machines, `event` is the index of an event
        renderers = [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(sort_keys=True)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
