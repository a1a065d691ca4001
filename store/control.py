"""Reading and writing what operators have set about an engine."""

from __future__ import annotations

from collections.abc import Callable

from peewee import Database

from .audit_log import write_acts
from .domain.act import Act
from .domain.control import Control
from .statements import write_transaction
from .tables import ControlModel
from .translation import translated_errors
from .writer import Turn, Writer

_COLUMNS = (
    ControlModel.is_paused,
    ControlModel.paused_until,
    ControlModel.reason,
    ControlModel.processors,
    ControlModel.error,
)


def read_control(database: Database) -> Control:
    """What is set now."""
    ((is_paused, *more),) = ControlModel.select(*_COLUMNS).tuples().execute(database)
    return Control(bool(is_paused), *more)


def write_control(
    database: Writer, change: Callable[[Control], Control | None], act: Act, at_us: int
) -> tuple[Control, bool]:
    """Change it, and write down who did.

    Args:
        database: a connection that may write.
        change: gives what holds from now on, of what has been set; None where that is not to be changed, after all.
        act: what was done, for the audit log.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.

    Returns:
        What holds from now on, and whether that is something else than before.

    Raises:
        StoreUnavailable: the database did not take it; what was set before holds.
    """
    with translated_errors(), write_transaction(database):
        database.wait_for_turn(Turn.CONTROL)
        before = read_control(database)
        control = change(before)
        if control is None:
            return before, False
        values = (int(control.is_paused), control.paused_until_us, control.reason, control.processors, control.error)
        ControlModel.update(dict(zip(_COLUMNS, values, strict=True))).execute(database)
        write_acts(database, (act,), at_us)
    return control, True
