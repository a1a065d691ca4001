"""Orders of one key run one after another: which of them must not be begun, and which may stand in line again.

An order that has a key has its place like any other. A claim that comes to one while another of its key is in its way
takes it out of its line, where it keeps its place; whenever an order of the key has moved, the next one is back in
line, in the same transaction, if nothing of the key is in its way. So where nothing is when its turn comes, nothing is
written for the sake of its key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from peewee import Database

from .domain.key_policy import KeyPolicy
from .queries import AMONG, IS_IN_LINE, as_json, is_of_key
from .rows import FOR_KEY
from .statements import run

_IS_HELD = f"parked = '{FOR_KEY}' AND ready_at IS NOT NULL"
_RUNS_OR_IN_REVIEW = ("Processing", "Review")
_IN_THE_WAY = {
    KeyPolicy.HOLD: _RUNS_OR_IN_REVIEW,
    KeyPolicy.CONTINUE: ("Processing",),
    KeyPolicy.HALT: (*_RUNS_OR_IN_REVIEW, "Failed"),
}
"""What is in the way of all others of its key, whenever they came."""
_GOES_FIRST = {
    KeyPolicy.HOLD: "",
    KeyPolicy.CONTINUE: " AND other.rank IS NOT NULL",  # what waits for its time lets others pass
    KeyPolicy.HALT: "",
}
"""What is Pending goes before all that came later, where this is so too."""


def _others(key: str, more: str) -> str:
    return f"SELECT other.sequence FROM orders AS other WHERE {is_of_key(key, 'other')} AND {more}"


def _is_in_the_way(policy: KeyPolicy, key: str) -> str:
    found = (_others(key, f"other.status = '{status}'") for status in _IN_THE_WAY[policy])
    return " OR ".join(f"EXISTS ({others})" for others in found)


def _is_blocked(policy: KeyPolicy) -> str:
    # Of an order that is Pending.
    before = f"other.status = 'Pending' AND other.sequence < this.sequence{_GOES_FIRST[policy]}"
    return f"(EXISTS ({_others('this.serial_key', before)}) OR {_is_in_the_way(policy, 'this.serial_key')})"


def _first(policy: KeyPolicy, key: str) -> str:
    is_first = f"other.status = 'Pending'{_GOES_FIRST[policy]} ORDER BY other.sequence LIMIT 1"
    return f"({_others(key, is_first)})"


_BLOCKED = f"""
    SELECT sequence FROM orders AS this WHERE sequence IN {AMONG} AND serial_key IS NOT NULL AND {{is_blocked}}
"""
_HOLD = f"UPDATE orders SET parked = '{FOR_KEY}' WHERE sequence IN {AMONG} AND {IS_IN_LINE}"
_LET_GO = f"""
    UPDATE orders SET parked = NULL WHERE {_IS_HELD} AND sequence IN (
      SELECT {{first}} FROM (SELECT value AS name FROM {{texts:?}} AS given) AS names WHERE NOT ({{is_in_the_way}}))
    RETURNING rank, sequence
"""
_IS_ANY = """
    SELECT EXISTS (SELECT 1 FROM orders WHERE serial_key >= '' AND status <> 'Completed' AND status <> 'Cancelled')
"""
_IS_ANY_HELD = f"SELECT EXISTS (SELECT 1 FROM orders WHERE {_IS_HELD})"
_HELD_KEYS = f"SELECT DISTINCT serial_key FROM orders WHERE {_IS_HELD}"


class Released(NamedTuple):
    """An order that is back in line."""

    rank: int
    """Its place."""
    sequence: int


class SerialOrders:
    """Tells which orders have others of their key in their way, in the ledger's transactions. Used by one thread.

    Args:
        database: connected in this thread.
        policy: what the next order of a key waits for.
    """

    def __init__(self, database: Database, policy: KeyPolicy) -> None:
        self._database = database
        self._blocked = _BLOCKED.replace("{is_blocked}", _is_blocked(policy))
        let_go = _LET_GO.replace("{first}", _first(policy, "name"))
        self._let_go = let_go.replace("{is_in_the_way}", _is_in_the_way(policy, "name"))
        self.is_any_held = self._is(_IS_ANY_HELD)
        """Whether any order is out of line. Where none is, nothing has to be looked up for those that move."""

    def is_any(self) -> bool:
        """Whether any order that is not over has a key."""
        return self._is(_IS_ANY)

    def look_around(self) -> None:
        """Find out whether other engines have taken orders out of line."""
        self.is_any_held = self._is(_IS_ANY_HELD)

    def blocked(self, sequences: Sequence[int]) -> Collection[int]:
        """Those of these orders, which could be begun otherwise, that others of their key are in the way of. Where two
        have the same key, that is so of one of them at least."""
        rows = run(self._database, self._blocked, (as_json(sequences),)).fetchall()
        return {sequence for (sequence,) in rows}

    def hold(self, sequences: Collection[int]) -> None:
        """Take these out of line, until nothing is in their way."""
        if sequences:
            run(self._database, _HOLD, (as_json(sequences),))
            self.is_any_held = True

    def let_go(self, names: Collection[str]) -> Sequence[Released]:
        """Put those back in line that go next, where nothing is in their way any more.

        Args:
            names: the keys of orders that have moved.
        """
        if not self.is_any_held or not names:
            return ()
        rows = run(self._database, self._let_go, (as_json(names),)).fetchall()
        if rows:
            self.is_any_held = self._is(_IS_ANY_HELD)
        return [Released(*row) for row in rows]

    def let_all_go(self) -> None:
        """Hold none of those any longer that have nothing in their way, for when the policy may have changed. Reads all
        that are held."""
        self.let_go([name for (name,) in run(self._database, _HELD_KEYS).fetchall()])

    def _is(self, question: str) -> bool:
        return bool(run(self._database, question).fetchone()[0])
