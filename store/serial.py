"""Orders of one key run one after another: those that are held, and which of them may stand in line next.

A held order has no place in the queue, so that a claim never meets one. Whenever an order of a key has moved, the next
one of the key is let go, in the same transaction, if nothing of the key is in its way.
"""

from __future__ import annotations

from collections.abc import Collection

from peewee import Database

from .domain.key_policy import KeyPolicy
from .queries import AMONG, as_json
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
_NAMES = f"SELECT DISTINCT serial_key AS name FROM orders WHERE sequence IN {AMONG} AND serial_key IS NOT NULL"
_LET_GO = """
    UPDATE orders SET held = NULL WHERE sequence IN (
      SELECT {first} FROM ({names}) AS names WHERE NOT EXISTS (
        SELECT 1 FROM orders WHERE serial_key = name AND {is_free} AND status IN {in_the_way}))
    RETURNING ready_at
"""
_HOLD = f"UPDATE orders SET held = 1 WHERE sequence IN {AMONG} AND serial_key IS NOT NULL AND status = 'Pending'"
_HOLD_WAITING = f"""
    UPDATE orders SET held = 1 WHERE sequence IN (
      SELECT sequence FROM ({_NAMES}) AS names CROSS JOIN orders
      WHERE serial_key = name AND {_IS_FREE} AND status = 'Pending' AND rank IS NULL AND ready_at > ?)
"""
_IS_ANY_HELD = f"SELECT EXISTS (SELECT 1 FROM orders WHERE serial_key >= '' AND {_IS_HELD})"
_HEADS = f"SELECT min(sequence) FROM orders WHERE {_IS_HELD} GROUP BY serial_key"


class SerialOrders:
    """Holds orders whose key has others before them, in the ledger's transactions. Used by one thread.

    Args:
        database: connected in this thread.
        policy: what the next order of a key waits for.
    """

    def __init__(self, database: Database, policy: KeyPolicy) -> None:
        self._database = database
        self._policy = policy
        first = _FIRST_DUE if policy is KeyPolicy.CONTINUE else _FIRST
        self._let_go = _LET_GO.format(first=first, names=_NAMES, is_free=_IS_FREE, in_the_way=_IN_THE_WAY[policy])
        self.is_any_held = self._is_any_held()
        """Whether any order is held. Where none is, nothing has to be looked up for those that move."""

    def hold(self, sequences: Collection[int]) -> None:
        """These are Pending now, and must not be begun while another of their key is in their way."""
        if run(self._database, _HOLD, (as_json(sequences),)).rowcount:
            self.is_any_held = True

    def let_go(self, moved: Collection[int], now_us: int) -> list[int]:
        """Let the next ones go of the keys of these orders.

        Args:
            moved: the sequences of the orders.
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.

        Returns:
            When each of those that were let go is ready, on the queue's clock.
        """
        if not self.is_any_held or not moved:
            return []
        sequences = as_json(moved)
        if self._policy is KeyPolicy.CONTINUE:
            run(self._database, _HOLD_WAITING, (sequences, now_us))
            rows = run(self._database, self._let_go, (now_us, sequences)).fetchall()
        else:
            rows = run(self._database, self._let_go, (sequences,)).fetchall()
        self.is_any_held = self._is_any_held()
        return [ready_us for (ready_us,) in rows]

    def heads(self) -> list[int]:
        """The first held order of each key, for when the policy may have changed. Reads all that are held."""
        return [sequence for (sequence,) in run(self._database, _HEADS).fetchall()]

    def _is_any_held(self) -> bool:
        return bool(run(self._database, _IS_ANY_HELD).fetchone()[0])
