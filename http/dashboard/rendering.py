"""Templates, and how times, durations, amounts and counts are written in them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...engine import OrderStatus
from ...store.domain.record import rfc3339, utc

_TEMPLATES = Path(__file__).with_name("templates")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def render(template: str, **values: object) -> bytes:
    """A page, or a part of one.

    Args:
        template: its file name.
        values: what it shows.
    """
    return _environment().get_template(template).render(**values).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(duration=duration, count=count, moment=moment, rate=rate)
    environment.globals.update(statuses=tuple(OrderStatus))
    return environment


def stamp(microseconds: int) -> str:
    """A moment for people, in UTC.

    Args:
        microseconds: since 1970-01-01T00:00:00Z.
    """
    return utc(microseconds).strftime("%Y-%m-%d %H:%M:%S")


def moment(microseconds: int) -> Markup:
    """A moment as an element: the time of day, with the date where that is not today's; whole for whoever points at it.

    Args:
        microseconds: since 1970-01-01T00:00:00Z.
    """
    at = utc(microseconds)
    form = "%H:%M:%S" if at.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M"
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        rfc3339(microseconds), stamp(microseconds), at.strftime(form)
    )


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    Args:
        seconds: how long it is.
    """
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.{0 if seconds >= 0.1 else 1}f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit in _UNITS:
        if whole >= size:
            large, rest = divmod(whole, size)
            smaller, small_unit = {"d": (3_600, "h"), "h": (60, "min"), "min": (1, "s")}[unit]
            return f"{large} {unit} {rest // smaller} {small_unit}"
    raise AssertionError(seconds)


def count(number: int) -> str:
    """A number with a thin space between thousands."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def rate(orders: float) -> str:
    """A number of orders a second, with as many digits as mean something."""
    return f"{count(round(orders)) if orders >= 100 else f'{orders:.{0 if orders == 0 else 1}f}'}/s"
