"""Orders of one key run one after another: those that are held, and which of them may stand in line next.

A held order has no place in the queue, so that a claim never meets one. A new order is held unless it is the first of
its key. Whenever an order of a key has moved, the next one of the key gets in line, in the same transaction, if nothing
of the key is in its way.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import NamedTuple

from peewee import Database

from .domain.key_policy import KeyPolicy
from .domain.record import OrderRecord
from .queries import AMONG, as_json
from .queue import Standing
from .statements import run

_IS_HELD = "held = 1 AND ready_at IS NOT NULL"
# The words of the condition of the index `orders_of_key`.
_IS_FREE = "serial_key IS NOT NULL AND held IS NULL AND status <> 'Completed' AND status <> 'Cancelled'"
_IN_THE_WAY = {
    KeyPolicy.HOLD: "('Pending', 'Processing', 'Review')",
    KeyPolicy.CONTINUE: "('Pending', 'Processing')",
    KeyPolicy.HALT: "('Pending', 'Processing', 'Review', 'Failed')",
}
_FIRST = f"(SELECT sequence FROM orders WHERE serial_key = name AND {_IS_HELD} ORDER BY sequence LIMIT 1)"
_FIRST_DUE = f"""coalesce(
    (SELECT sequence FROM orders WHERE serial_key = name AND {_IS_HELD} AND ready_at <= ? ORDER BY sequence LIMIT 1),
    (SELECT sequence FROM orders WHERE serial_key = name AND {_IS_HELD} ORDER BY ready_at, sequence LIMIT 1))"""
# The first held order of each key of which nothing is in its way.
_NEXT = """
    SELECT {first} FROM (SELECT value AS name FROM {{texts:?}} AS given) AS names WHERE NOT EXISTS (
      SELECT 1 FROM orders WHERE serial_key = name AND {is_free} AND status IN {in_the_way})
"""
_READ = "SELECT ready_at, sequence, user_id, priority, queue FROM orders WHERE sequence IN ({next})"
_LET_GO = "UPDATE orders SET held = NULL WHERE sequence IN ({next})"
_UNUSED = f"""
    SELECT value FROM {{texts:?}} AS names WHERE NOT EXISTS (
      SELECT 1 FROM orders WHERE serial_key = value AND {_IS_FREE} AND status IN {{in_the_way}})
    AND NOT EXISTS (SELECT 1 FROM orders WHERE serial_key = value AND {_IS_HELD})
"""
_HOLD = f"UPDATE orders SET held = 1 WHERE sequence IN {AMONG} AND serial_key IS NOT NULL AND status = 'Pending'"
_HOLD_WAITING = f"""
    UPDATE orders SET held = 1 WHERE sequence IN (
      SELECT sequence FROM {{texts:?}} AS names CROSS JOIN orders
      WHERE serial_key = value AND {_IS_FREE} AND status = 'Pending' AND rank IS NULL AND ready_at > ?)
"""
_IS_ANY_HELD = f"SELECT EXISTS (SELECT 1 FROM orders WHERE serial_key >= '' AND {_IS_HELD})"
_HELD_KEYS = f"SELECT DISTINCT serial_key FROM orders WHERE {_IS_HELD}"


class Admission(NamedTuple):
    """What becomes of new orders as far as their keys are concerned."""

    names: Sequence[str | None]
    """The key of each."""
    first: Mapping[str, int]
    """The sequences of those that need not wait for others, by their keys."""
    held: Collection[int]
    """The sequences of those that do."""


class SerialOrders:
    """Holds orders whose key has others before them, in the ledger's transactions. Used by one thread.

    Args:
        database: connected in this thread.
        policy: what the next order of a key waits for.
    """

    def __init__(self, database: Database, policy: KeyPolicy) -> None:
        self._database = database
        self._policy = policy
        first, in_the_way = _FIRST_DUE if policy is KeyPolicy.CONTINUE else _FIRST, _IN_THE_WAY[policy]
        following = _NEXT.format(first=first, is_free=_IS_FREE, in_the_way=in_the_way)
        self._read, self._let_go = _READ.replace("{next}", following), _LET_GO.replace("{next}", following)
        self._unused = _UNUSED.replace("{in_the_way}", in_the_way)
        self.is_any_held = self._is_any_held()
        """Whether any order is held. Where none is, nothing has to be looked up for those that move."""

    def admit(self, records: Sequence[OrderRecord], names: Sequence[str | None], now_us: int) -> Admission:
        """Which of new orders are held: all but the first of each key that no other order is of.

        Args:
            records: the orders, in the sequence of their arrival.
            names: the key of each.
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        """
        keys = {name for name in names if name is not None}
        if not keys:
            return Admission(names, {}, frozenset())
        unused = {name for (name,) in run(self._database, self._unused, (as_json(keys),)).fetchall()}
        first: dict[str, int] = {}
        held = set()
        for record, name in zip(records, names, strict=True):
            if name is None:
                continue
            if name in unused and name not in first and self._may_be_first(record, now_us):
                first[name] = record.sequence
            else:
                held.add(record.sequence)
        self.is_any_held = self.is_any_held or bool(held)
        return Admission(names, first, held)

    def overlooked(self, admission: Admission, sequences: Sequence[int], new: Container[int]) -> set[str]:
        """The keys of held orders that have to be looked at again, now that these are stored.

        Args:
            admission: of these and others.
            sequences: of all for which it is, likewise.
            new: those that are stored now; the others were there already.
        """
        first = admission.first
        passed = {name for name, sequence in first.items() if sequence not in new}
        # What came before and waits for its time lets a new one pass.
        others = self._policy is KeyPolicy.CONTINUE
        return {
            name
            for sequence, name in zip(sequences, admission.names, strict=True)
            if sequence in new and name is not None and (name in passed or (others and name not in first))
        }

    def hold(self, sequences: Collection[int]) -> None:
        """These are Pending now, and must not be begun while another of their key is in their way."""
        if run(self._database, _HOLD, (as_json(sequences),)).rowcount:
            self.is_any_held = True

    def next_ones(self, names: Collection[str], now_us: int) -> list[Standing]:
        """The held orders that go next, of keys of which orders have moved: nothing is in their way any more.

        Args:
            names: the keys.
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        """
        if not self.is_any_held or not names:
            return []
        keys = as_json(names)
        if self._policy is KeyPolicy.CONTINUE:
            run(self._database, _HOLD_WAITING, (keys, now_us))
        rows = run(self._database, self._read, self._about(keys, now_us)).fetchall()
        return [Standing._make(row) for row in rows]

    def note_let_go(self) -> None:
        """Some are held no longer."""
        self.is_any_held = self._is_any_held()

    def let_all_go(self, now_us: int) -> None:
        """Hold none of those any longer that have nothing in their way, for when the policy may have changed. Reads all
        that are held.

        Args:
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        """
        names = [name for (name,) in run(self._database, _HELD_KEYS).fetchall()]
        run(self._database, self._let_go, self._about(as_json(names), now_us))
        self.note_let_go()

    def _about(self, keys: str, now_us: int) -> tuple[object, ...]:
        # What a statement about these keys is given.
        return (now_us, keys) if self._policy is KeyPolicy.CONTINUE else (keys,)

    def _may_be_first(self, record: OrderRecord, now_us: int) -> bool:
        return self._policy is not KeyPolicy.CONTINUE or record.ready_us == now_us

    def _is_any_held(self) -> bool:
        return bool(run(self._database, _IS_ANY_HELD).fetchone()[0])
