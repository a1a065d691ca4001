"""Durations as people type them: 90s, 10m, 2h, 7d."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import typer

from ...engine import InvalidConfiguration

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")


def duration_option(name: str, description: str) -> Any:
    """An option for a duration, which is given in seconds.

    Args:
        name: as it is typed.
        description: for its help.
    """
    return typer.Option(name, help=description, parser=partial(parse_duration, name), metavar="<90s, 10m, 2h or 7d>")


def parse_duration(name: str, text: str) -> float:
    """The seconds of a duration.

    Args:
        name: of the option, for the error.
        text: as it was typed; a plain number is of seconds.

    Raises:
        InvalidConfiguration: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InvalidConfiguration(f"{name} must be a time such as 90s, 10m, 2h or 7d, not {text!r}.")
    return float(found[1]) * _SECONDS[found[2] or "s"]
