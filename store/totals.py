"""Adding to the running totals."""

from __future__ import annotations

from collections.abc import Mapping

from peewee import SQL, Database

from .statements import ManyRows, given_values
from .tables import TotalModel

_add = ManyRows(
    TotalModel.update({TotalModel.value: TotalModel.value + SQL("given.column1")})
    .from_(given_values(2))
    .where(TotalModel.name == SQL("given.column2")),
    2,
    "it",
)


def add_to_totals(database: Database, changes: Mapping[str, int]) -> None:
    """Add to the running totals.

    Args:
        database: connected in this thread, in the transaction that changes the orders.
        changes: what to add, by the names of the totals.
    """
    added = [(value, name) for name, value in changes.items() if value]
    _add.run(database, *zip(*added, strict=True))
