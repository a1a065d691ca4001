"""Dialect: the things that kinds of databases say differently, each under one name in the statements of the store."""

from __future__ import annotations

from typing import NamedTuple


class Fragment(str):
    """A piece of SQL about an expression, which takes the place of the `{}` in it."""

    __slots__ = ()

    def __format__(self, expression: str) -> str:
        return self.replace("{}", expression)


class Dialect(NamedTuple):
    """What stands in a statement for each of these names in braces; all else is understood by every database."""

    integers: Fragment
    """`{integers:?}`: the numbers of a JSON array, as a subquery."""
    texts: Fragment
    """`{texts:w.events}`: the texts of a JSON array, likewise."""
    one_of: Fragment
    """`number {one_of:SELECT …}`: is one of the values of a subquery, along whose values an index is followed."""
    greatest: str
    """`{greatest}(a, b)`: the greater of two values."""
    indexed_by: Fragment
    """`orders{indexed_by:orders_over}`: follow that index, where the planner has to be told."""
    not_indexed: str
    """`{not_indexed}status = ?`: look up this column and follow no index over it, likewise."""
    skip_locked: str
    """At the end of a subquery: leave out the rows that another transaction has locked, where there can be one."""
    for_update: str
    """At the end of a query: lock its rows until the end of the transaction, where there can be another one."""
    but_keyed: str
    """In a condition on orders that are taken without a look at their keys: none that has one, where another connection
    may have put it there."""
    is_rescheduled: str
    """At the end of a RETURNING of `orders`: whether anybody has changed the order's schedule, where another connection
    may have done so."""
    integer: str
    """`CAST(? AS {integer})`: the type of whole numbers, where a parameter has to be told its own."""
    now_us: str
    """`{now_us}`: the database's time, microseconds since 1970-01-01T00:00:00Z."""
    new_sequences: str
    """A whole statement: so many sequences for new orders, rising; none where the only writer counts for itself."""
    last_sequence: str
    """A whole statement: the highest sequence that was ever given to an order, or no row."""
    last_transition: str
    """A whole statement: the highest id of all events that can be read, or were removed, below which none can
    appear any more; or no row."""
    next_event: str
    """A whole statement: the next number among the ids of transitions, which no other will get."""
    given_numbers: str
    """A whole statement: names of tables, and the highest number that was ever given in each."""
    damages: str
    """A whole statement: what is wrong with the files, in words; `ok` or no row where nothing is."""

    def render(self, statement: str) -> str:
        """The statement as this database takes it."""
        return statement.format(**self._asdict()) if "{" in statement else statement
