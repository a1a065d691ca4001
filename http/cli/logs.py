"""Logging: one line an event on standard error, as text for people or as JSON for programs."""

from __future__ import annotations

import logging
import re
import sys
from enum import StrEnum

from pythonjsonlogger.msgspec import MsgspecFormatter

from ...store.domain.text import UNPRINTABLE, in_one_line, in_own_lines

_UNPRINTABLE = re.compile(f"[{UNPRINTABLE}]")
_FIELDS = ("request_id", "key_id", "order_id", "attempt")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogLevel(StrEnum):
    """The least level that is written."""

    DEBUG = "debug"
    """Each transition, and the traceback of what a handler raised."""
    INFO = "info"
    """Each request, and each failed attempt."""
    WARNING = "warning"
    """Each order that has failed for good."""
    ERROR = "error"
    """What an operator has to look at."""


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class _TextFormatter(logging.Formatter):
    """Adds what a line is about: the request, the key, the order, its attempt. No text of others begins a line."""

    def format(self, record: logging.LogRecord) -> str:
        return in_own_lines(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        line = super().formatMessage(record)
        about = [
            f"{name}={in_one_line(str(value))}"
            for name in _FIELDS
            if (value := getattr(record, name, None)) not in (None, "")
        ]
        return f"{line} [{' '.join(about)}]" if about else line


class _JsonFormatter(MsgspecFormatter):
    """Escapes what JSON need not, and a terminal would act on."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if line.isprintable() else _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def configure(level: LogLevel, form: LogFormat = LogFormat.TEXT) -> None:
    """Have what is logged in this process written to standard error.

    Args:
        level: the least level that is written. Other packages' lines for debugging never are.
        form: how.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    ours = logging.getLogger(__name__.partition(".")[0])
    ours.setLevel(level.upper())
    logging.basicConfig(level=max(ours.level, logging.INFO), handlers=[handler])


def formatter(form: LogFormat) -> logging.Formatter:
    """Writes lines in that form."""
    if form is LogFormat.TEXT:
        return _TextFormatter(_TEXT)
    return _JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="at",
    )
