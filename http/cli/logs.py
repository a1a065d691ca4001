"""Logging: one line an event on standard error, as text for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

from pythonjsonlogger.msgspec import MsgspecFormatter

from ...engine import InvalidConfiguration

LEVELS = ("debug", "info", "warning", "error")

_FIELDS = ("request_id", "key_id", "order_id", "attempt")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class _TextFormatter(logging.Formatter):
    """Adds what a line is about: the request, the key, the order, its attempt."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        line = super().formatMessage(record)
        about = [f"{name}={value}" for name in _FIELDS if (value := getattr(record, name, None)) not in (None, "")]
        return f"{line} [{' '.join(about)}]" if about else line


def configure(level: str, form: LogFormat = LogFormat.TEXT) -> None:
    """Have what is logged in this process written to standard error.

    Args:
        level: the least level that is written, one of LEVELS. Other packages' lines for debugging never are.
        form: how.

    Raises:
        InvalidConfiguration: there is no such level.
    """
    if level not in LEVELS:
        raise InvalidConfiguration(f"The log level is one of {', '.join(LEVELS)}; {level!r} is not.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    ours = logging.getLogger(__name__.partition(".")[0])
    ours.setLevel(level.upper())
    logging.basicConfig(level=max(ours.level, logging.INFO), handlers=[handler])


def formatter(form: LogFormat) -> logging.Formatter:
    """Writes lines in that form."""
    if form is LogFormat.TEXT:
        return _TextFormatter(_TEXT)
    return MsgspecFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="at",
    )
