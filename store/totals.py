"""Adding to the running totals, each of which is the sum of its parts: every engine adds to one of its own."""

from __future__ import annotations

from collections.abc import Mapping

from peewee import SQL, Database

from .statements import ManyRows, given_values, run
from .tables import TotalModel
from .writer import Writer

PARTS = 64
"""Of each total where several engines work: more of them would share, and wait for each other."""

_add = ManyRows(
    TotalModel.update({TotalModel.value: TotalModel.value + SQL("given.column1")})
    .from_(given_values(3))
    .where((TotalModel.name == SQL("given.column2")) & (TotalModel.part == SQL("given.column3"))),
    3,
    "iti",
)

_MAKE_PARTS = """
    INSERT INTO totals (name, part, value) SELECT name, CAST(? AS {integer}), 0 FROM totals WHERE part = 0
    ON CONFLICT DO NOTHING
"""


def add_to_totals(database: Database, changes: Mapping[str, int]) -> None:
    """Add to the running totals.

    Args:
        database: connected in this thread, in the transaction that changes the orders.
        changes: what to add, by the names of the totals.
    """
    part = part_of(database.owner) if isinstance(database, Writer) else 0
    added = [(value, name, part) for name, value in sorted(changes.items()) if value]
    _add.run(database, *zip(*added, strict=True))


def part_of(owner: int | None) -> int:
    """Which part of each total a run of an engine adds to.

    Args:
        owner: the run; None where one engine has the database.
    """
    return 0 if owner is None else 1 + owner % (PARTS - 1)


def make_parts(database: Database, owner: int) -> None:
    """Make the parts that a run of an engine adds to, where they are not there. In a transaction.

    Args:
        database: a connection that may write.
        owner: the run.
    """
    run(database, _MAKE_PARTS, (part_of(owner),))
