"""The queue: the Pending orders, which the database holds, and which of them are next.

The orders of each priority of each queue stand in a line of their own. An order that may be processed has a place in
its line, its `rank`, and of a line they are taken in that sequence. The places of each line are a range of numbers of
their own, so that one index holds all lines, and is as small as if there were one. An order that waits for its time has
no place: it gets one when `ready_at` has come, as if it arrived at that moment. One that was taken and comes back
without a failure has its own still.

Between the lines, the next is the one whose first order has waited longest, where each priority counts as so much
time: so what is urgent goes first, and nothing starves. Where all have the same priority, and none has a key, a claim
is one statement, which reads as many entries of an index as it takes orders. Otherwise each line is read so far, and
what is at a limit is passed over, and so is what others of its key are in the way of.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from heapq import heapify, heappop, heapreplace
from itertools import islice, repeat
from operator import itemgetter
from typing import NamedTuple

from msgspec.structs import replace

from . import queries
from .domain import lifecycle
from .domain.claim import Claim
from .domain.key_policy import KeyPolicy
from .domain.lifecycle import OrderStatus
from .domain.limit import NO_LIMITS
from .domain.limit import Limits as ConfiguredLimits
from .domain.order import DEFAULT_QUEUE, Order
from .domain.record import Move, OrderRecord, keeps_place, move
from .domain.weight import NO_WEIGHTS, Weights
from .front import Front, InLine, Walk
from .limits import Limits
from .queries import AMONG, IS_IN_LINE, as_json
from .queues import Queues, bounds_of, line_number, lines_in_use, priority_of, queue_of
from .rows import ORDER_COLUMN_NAMES, order_of, serial_key
from .serial import SerialOrders
from .statements import run, run_for_each
from .turns import PLACES, STEP, Turns
from .writer import TransactionConflict, Writer

_LET_IN_AT_ONCE = 1_000
_PENDING = OrderStatus.PENDING

_TAKE = """
    UPDATE orders SET status = 'Processing', attempts = attempts + 1, updated_at = {{greatest}}(updated_at, ?),
      ready_at = NULL, owner = CAST(? AS {{integer}})
    WHERE sequence IN {}
"""
_CLAIM = _TAKE + "RETURNING rank, sequence, attempts, failures, updated_at{{is_rescheduled}}"
_LINE = f"FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE}"
_NEXT = f"SELECT sequence {_LINE}{{but_keyed}} ORDER BY rank, sequence LIMIT ?"
_NEXT_BUT = f"SELECT sequence {_LINE}{{but_keyed}} AND sequence NOT IN {AMONG} ORDER BY rank, sequence LIMIT ?"
# Since when it waits; not since a client says that it may be begun, who would say long ago.
_FRONT = f"""
    SELECT {ORDER_COLUMN_NAMES}, rank, {{greatest}}(created_at, coalesce(not_before, 0)) {_LINE}
      AND (rank > ? OR sequence > ?)
    ORDER BY rank, sequence LIMIT ?
"""
_IF_READY = """
    SELECT sequence FROM orders
    WHERE sequence = ? AND ready_at IS NOT NULL AND parked IS NULL
      AND (rank IS NOT NULL OR ready_at <= ?)
"""
_CLAIM_NEXT, _CLAIM_NEXT_BUT, _CLAIM_ONE = (
    _CLAIM.format(f"({which}{{skip_locked}})") for which in (_NEXT, _NEXT_BUT, _IF_READY)
)
_CLAIM_THESE = _CLAIM.format(f"(SELECT sequence FROM orders WHERE sequence IN {AMONG} AND {IS_IN_LINE}{{skip_locked}})")
_TAKE_THESE = f"{_TAKE.format(AMONG)} AND {IS_IN_LINE}"
_DUE = """
    SELECT ready_at, sequence, user_id, priority, queue FROM orders
    WHERE rank IS NULL AND ready_at <= ?
    ORDER BY ready_at, sequence LIMIT ?{skip_locked}
"""
_COME_TO = f"""
    SELECT (SELECT rank {_LINE} ORDER BY rank LIMIT 1),
      (SELECT max(rank) + {STEP} FROM orders WHERE rank >= ? AND rank < ? AND status = 'Processing')
"""
_LET_IN = "UPDATE orders SET rank = ? WHERE sequence = ?"

_ENDS = f"""
    SELECT (SELECT rank {_LINE} AND attempts = 0 ORDER BY rank LIMIT 1), (SELECT min(rank) {_LINE}),
      (SELECT max(rank) {_LINE})
"""
LAST_OF_USER = """
    SELECT rank FROM orders WHERE user_id = ? AND status = 'Pending' AND rank >= ? AND rank < ?
    ORDER BY sequence DESC LIMIT 1
"""
_PLACES_GIVEN = f"""
    SELECT user_id, max(rank) FROM (
      SELECT sequence, user_id, rank FROM orders WHERE sequence > ? ORDER BY sequence DESC LIMIT ?) AS latest
    WHERE rank IS NOT NULL GROUP BY user_id, rank / {PLACES}
"""
_SEQUENCE = ORDER_COLUMN_NAMES.split(", ").index("sequence")
_USUAL = 0
"""The line that nearly all orders stand in."""
_MOST_LINES = 100
_MOST_USERS = 30_000
"""That are remembered, in all lines."""
_LEAST_READ, _MOST_READ = 8, 512
_MOST_PARKED = 1_000
_MOST_HEARD_OF = 20_000
_MOST_AHEAD = 5_000
_MOST_ASIDE = 5_000


_Head = tuple[int, int, Walk]
"""The next order of a line: since when it counts as waiting, and its sequence, which is that of no other; and the walk
that has come to it."""


class _Choice:
    """What becomes of the orders that a claim comes to."""

    __slots__ = ("held", "of_keys", "parked", "sure", "taken")

    def __init__(self) -> None:
        self.taken: list[InLine] = []
        self.sure = 0
        """Of so many of these it is known that nothing of their key is in the way."""
        self.of_keys: dict[str, InLine] = {}
        """Those of them that have a key, by it: of each key the one that came first."""
        self.held: list[InLine] = []
        """Those that others of their key are in the way of."""
        self.parked: list[tuple[str, int, Order]] = []
        """As `Limits.park` takes them."""

    @property
    def is_long(self) -> bool:
        """Whether enough is written for those that are not taken."""
        return len(self.parked) + len(self.held) >= _MOST_PARKED


class Standing(NamedTuple):
    """An order without a place, and what its place depends on."""

    ready_us: int
    """When its time comes, or has come, on the queue's clock."""
    sequence: int
    user_id: str
    priority: int
    queue: str | None
    """As its column has it."""


class OrderQueue:
    """Takes orders into the queue and out of it, in the ledger's transactions. Used by one thread.

    What it remembers spares reading, and is as the database has it after each commit. After a rollback it is not: make
    another one.

    Args:
        database: connected in this thread.
        kept: how many Pending orders are remembered at the most, so that they need not be read.
        limits: those that hold where operators have set none.
        weights: of users whose share of the turns is another than that of the others.
        key_policy: what the next order of a key waits for.
    """

    def __init__(
        self,
        database: Writer,
        kept: int,
        limits: ConfiguredLimits = NO_LIMITS,
        weights: Weights = NO_WEIGHTS,
        key_policy: KeyPolicy = KeyPolicy.HOLD,
    ) -> None:
        self._database = database
        self._weights = weights
        self._kept = kept
        self._pending: dict[int, OrderRecord] = {}  # by sequence: those that became Pending last
        self._queues = Queues(database)
        self._limits = Limits(database, self._queues, limits, is_alone=not database.is_shared)
        self._serial = SerialOrders(database, key_policy)
        self._may_be_keyed = self._serial.is_any()  # whether orders in line may have keys
        self._in_use = set(lines_in_use(database))  # those that orders may be in
        self._fronts: dict[int, Front] = {}  # of some of these
        self._aside: dict[str, dict[int, InLine]] = {}  # by key: those of them that wait for others of it, by sequence
        self._lines: dict[int, Turns] = {}  # those that were used last
        self._next_ready_us: int | None = queries.next_ready_us(self._database)
        self._is_empty = False  # whether it is known that no order is in line
        self._goes_on_us: int | None = None  # since when a claim has to be continued, on the queue's clock
        last = queries.last_sequence(self._database)
        self._heard_of = (last, last)  # how far the sequences went when it was looked at them last, and before

    @property
    def next_ready_us(self) -> int | None:
        """When the next of those is ready that wait for their time or for a rate, on the queue's clock; None where
        none waits."""
        times = (self._goes_on_us, self._limits.opens_us, self._next_ready_us)
        return min([time_us for time_us in times if time_us is not None], default=None)

    def obey(self) -> None:
        """Take note of what operators have set about queues."""
        self._queues.read()
        self._is_empty = False

    def line_of(self, order: Order) -> int:
        """The number of the line that an order stands in; in a transaction that writes."""
        return self._queues.line_of(order)

    def give_places(
        self, sequences: Sequence[int], user_ids: Sequence[str], lines: Sequence[int] | None = None
    ) -> list[int]:
        """The places of orders that get in line, in the sequence in which they do.

        Args:
            sequences: theirs.
            user_ids: whose each is.
            lines: the numbers of their lines; the usual one by default.
        """
        self._is_empty = self._is_empty and not sequences
        if lines is None:
            if user_ids:
                self._in_use.add(_USUAL)
            give = self._line(_USUAL).give
            places = [give(user_id) for user_id in user_ids]
        else:
            self._in_use.update(lines)
            turns = {line: self._line(line) for line in dict.fromkeys(lines)}
            places = [turns[line].give(user_id) for user_id, line in zip(user_ids, lines, strict=True)]
            self._bound_users()
        if self._fronts:
            for line, place, sequence in zip(lines or repeat(_USUAL), places, sequences, strict=False):
                if (front := self._fronts.get(line)) is not None:
                    front.note(place, sequence)
        return places

    def take_back_places(self, places: Sequence[tuple[str, int, int]]) -> None:
        """Some of the latest places were not taken, each with its user and line; in the sequence in which they were
        given."""
        for line in {line for _, line, _ in places}:
            self._line(line).give_back([(user_id, place) for user_id, of, place in places if of == line])

    def note(self, records: Sequence[OrderRecord]) -> None:
        """These orders are Pending now."""
        pending = self._pending
        for record in records:
            pending[record.sequence] = record
        if len(pending) > self._kept:
            for sequence in list(islice(pending, len(pending) - self._kept)):
                del pending[sequence]

    def note_moves(self, moves: Iterable[Move]) -> None:
        """Steps of orders were recorded."""
        moves = list(moves)
        self._limits.note_moved(step.after.order for step in moves)
        self._limits.note_ended(step.before.sequence for step in moves)
        for step in moves:
            if step.slowed_until_us is not None:
                self._limits.close(step.after.order, step.slowed_until_us)
        returned = [step for step in moves if step.edge.target is _PENDING]
        self._is_empty = self._is_empty and not returned
        if self._fronts:
            for step in moves:  # where one leaves a line, or comes back into it, that has to be read again
                if step.before.status is _PENDING or step.edge.target is _PENDING:
                    self._fronts.pop(self.line_of(step.before.order), None)
        if not returned:
            return
        self._look_for_keys()
        self.note([step.after for step in returned])
        self._in_use.update([self.line_of(step.after.order) for step in returned if keeps_place(step)])
        self.note_waiting([step.after.ready_us or 0 for step in returned if not keeps_place(step)])

    def look_around(self, *, is_alone: bool = False) -> None:
        """Find out what other engines have put in line, and how far they have come.

        Args:
            is_alone: whether there is no other one that gives places.
        """
        self._forget_fronts()
        self._is_empty = False
        self._queues.read()
        self._limits.look_around()
        self._serial.look_around()
        self._look_for_keys()
        self._next_ready_us = queries.next_ready_us(self._database)
        self._in_use.update(lines_in_use(self._database))
        for line in list(self._in_use & self._lines.keys()):
            for place in run(self._database, _COME_TO, 2 * bounds_of(line)).fetchone():
                if place is not None:
                    self._lines[line].begin_at(place)
        if not is_alone:
            self._hear_of_places()

    def _hear_of_places(self) -> None:
        # From where it was looked the last time but one: sequences are seen in another order than they were given.
        since, last = self._heard_of
        self._heard_of = last, queries.last_sequence(self._database)
        for user_id, place in run(self._database, _PLACES_GIVEN, (since, _MOST_HEARD_OF)).fetchall():
            if (turns := self._lines.get(place // PLACES)) is not None:
                turns.note(user_id, place)

    def note_waiting(self, ready_us: Sequence[int]) -> None:
        """Orders wait for these times, on the queue's clock."""
        if ready_us:
            self._next_ready_us = min(ready_us) if self._next_ready_us is None else min(self._next_ready_us, *ready_us)

    @property
    def may_be_keyed(self) -> bool:
        """Whether a claim may come to orders that have keys."""
        return self._may_be_keyed

    def note_keyed(self, *, by_others: bool = False) -> None:
        """Orders have keys that are in line, or get there.

        Args:
            by_others: whether other engines may have done whatever can be done to such orders.
        """
        self._may_be_keyed = True
        if by_others:
            self._serial.is_any_held = True

    def _look_for_keys(self) -> None:
        self._may_be_keyed = self._may_be_keyed or self._serial.is_any()

    def let_go(self, moves: Iterable[Move]) -> None:
        """Have those met again that waited for what has moved, of the same key: the first of each."""
        if not self._aside and not self._serial.is_any_held:
            return
        # Of the user too, where he may once have been the key of orders that have none.
        names = {name for step in moves if (name := serial_key(step.after.order, by_user=True)) is not None}
        for name in self._aside.keys() & names:
            waiting = self._aside[name]
            order = waiting.pop(min(waiting))
            if not waiting:
                del self._aside[name]
            self._come_back(order.rank, order)
        for rank, sequence in self._serial.let_go(names):
            self._come_back(rank, sequence)

    def _come_back(self, rank: int, order: InLine | int) -> None:
        # One that is known, or the sequence of one that is not.
        line = rank // PLACES
        if (front := self._fronts.get(line)) is not None:
            if isinstance(order, InLine):
                front.put_back(order)
            else:
                front.note(rank, order)
        self._in_use.add(line)
        self._is_empty, self._may_be_keyed = False, True

    def _hold(self, orders: Sequence[InLine]) -> None:
        """Have a claim not meet these again while others of their key are in their way."""
        room = 0 if self._database.is_shared else _MOST_ASIDE - sum(map(len, self._aside.values()))
        for order in orders[:room]:
            name = serial_key(order.record.order, by_user=True)
            assert name is not None
            self._aside.setdefault(name, {})[order.sequence] = order
        self._serial.hold([order.sequence for order in orders[room:]])

    def let_in(self, now_us: int, room: int) -> None:
        """Give places to orders whose time has come; as many as there is room for, if there are so many.

        Args:
            now_us: the queue's time.
            room: how many orders are to be taken next.
        """
        if self._next_ready_us is None or self._next_ready_us > now_us:
            return
        limit = max(room, _LET_IN_AT_ONCE)
        due = [Standing(*row) for row in run(self._database, _DUE, (now_us, limit)).fetchall()]
        self._look_for_keys()
        places = self._places_of(due)
        run_for_each(
            self._database, _LET_IN, [(place, order.sequence) for place, order in zip(places, due, strict=True)]
        )
        if len(due) < limit:
            self._next_ready_us = queries.next_ready_us(self._database)

    def _places_of(self, orders: Sequence[Standing]) -> list[int]:
        number_of = self._queues.number_of
        numbers = {
            (queue, priority): line_number(number_of(DEFAULT_QUEUE if queue is None else queue), priority)
            for queue, priority in {(order.queue, order.priority) for order in orders}
        }
        lines = [numbers[order.queue, order.priority] for order in orders]
        return self.give_places([order.sequence for order in orders], [order.user_id for order in orders], lines)

    def claim(self, claim: Claim, at_us: int) -> list[Move]:
        """Take those that are next: they are Processing now, with one attempt more.

        Args:
            claim: how many.
            at_us: the stamp of their step, microseconds since 1970-01-01T00:00:00Z.

        Returns:
            Their steps, in the sequence of their places.
        """
        if claim.room <= 0 or (self._is_empty and claim.only is None):
            return []
        steps = self._claim(claim, at_us)
        # Where others write too, they may put orders in line; and one that is passed over is in line still.
        is_sure = not (self._database.is_shared or self._limits.are_there or claim.but_not or claim.only)
        self._is_empty = is_sure and len(steps) < claim.room and self._goes_on_us is None
        self._may_be_keyed = self._may_be_keyed and (not self._is_empty or bool(self._aside))
        return steps

    def is_room_for(self, claim: Claim, orders: int) -> bool:
        """Whether a claim takes so many new orders, those that have nothing to wait for, in the moment that they come:
        nobody is in line before them."""
        return self._is_empty and orders <= claim.room and claim.only is None and not self._limits.are_there

    def take_new(self, orders: Iterable[tuple[int, OrderRecord]], at_us: int) -> list[Move]:
        """New orders were taken as they came: they are stored as Processing.

        Args:
            orders: all that were given places since there was room for them, each with its place.
            at_us: the stamp of their step, microseconds since 1970-01-01T00:00:00Z.

        Returns:
            Their steps, in the sequence of their places.
        """
        taken = sorted(orders, key=itemgetter(0))  # of equal places, the first to come is first
        self._come_to([(place, record.order) for place, record in taken])
        self._is_empty = True
        return [move(record, lifecycle.ASSIGN, at_us) for _, record in taken]

    def _claim(self, claim: Claim, at_us: int) -> list[Move]:
        if claim.only is None and (len(self._in_use) > 1 or self._limits.are_there or self._may_be_keyed):
            chosen = self.choose(claim)
            if not chosen:
                return []
            if not self._database.is_shared:
                return self._take_all(chosen, at_us)
            taken = self._take_some(chosen, at_us)
            known = {order.sequence: order.record for order in chosen}
        else:
            self._forget_fronts()  # it is not known which orders are taken
            taken = self._take_next(claim, at_us) if claim.only is None else self._take_only(claim, claim.only, at_us)
            known = self._pending
        steps = self._steps(taken, [known.get(sequence) for _, sequence, *_ in taken])
        for _, sequence, *_ in taken:
            self._pending.pop(sequence, None)
        if steps and claim.only is None:
            self._come_to([(row[0], step.after.order) for row, step in zip(taken, steps, strict=True)])
        return steps

    def _take_all(self, chosen: Sequence[InLine], at_us: int) -> list[Move]:
        # Nobody else writes, so that it is known what becomes of them.
        sequences = [order.sequence for order in chosen]
        taken = run(self._database, _TAKE_THESE, (at_us, self._database.owner, as_json(sequences))).rowcount
        if taken != len(sequences):
            raise TransactionConflict("orders have left their lines")
        for sequence in sequences:
            self._pending.pop(sequence, None)
        self._come_to([(order.rank, order.record.order) for order in chosen])
        return [move(order.record, lifecycle.ASSIGN, at_us) for order in chosen]

    def _steps(self, taken: Sequence[tuple[int, ...]], known: Sequence[OrderRecord | None]) -> list[Move]:
        unknown = [
            row[1]
            for row, before in zip(taken, known, strict=True)
            if before is None or (before.attempts + 1, before.failures) != row[2:4] or row[5:] == (True,)
        ]
        read = self._read(unknown) if unknown else {}
        steps = []
        for (_, sequence, attempts, failures, updated_us, *_), before in zip(taken, known, strict=True):
            after = read.get(sequence)
            if after is None:
                assert before is not None
                after = OrderRecord(
                    before.order,
                    sequence,
                    OrderStatus.PROCESSING,
                    attempts,
                    failures,
                    before.created_us,
                    updated_us,
                    None,
                    before.last_error,
                )
            else:
                ready_us = after.created_us if attempts == 1 else None  # since when it was ready, nobody knows any more
                before = replace(after, status=OrderStatus.PENDING, attempts=attempts - 1, ready_us=ready_us)
            steps.append(Move(lifecycle.ASSIGN, before, after, lifecycle.ASSIGN.why))
        return steps

    def _come_to(self, taken: Sequence[tuple[int, Order]]) -> None:
        # In the sequence of their places. Where all users have equal shares, the last of a line ends last of it.
        ends = taken if self._weights else {place // PLACES: (place, order) for place, order in taken}.values()
        for place, order in ends:
            self._line(place // PLACES).come_to(place, order.user_id)

    def _take_next(self, claim: Claim, at_us: int) -> list[tuple[int, ...]]:
        # Of the one line, in the sequence of their places.
        taken: list[tuple[int, ...]] = []
        for line in self._in_use:
            if claim.but_not:
                taken = self._run(_CLAIM_NEXT_BUT, at_us, *bounds_of(line), as_json(claim.but_not), claim.room)
            else:
                taken = self._run(_CLAIM_NEXT, at_us, *bounds_of(line), claim.room)
        taken.sort(key=itemgetter(0, 1))
        return taken

    def _take_only(self, claim: Claim, sequence: int, at_us: int) -> list[tuple[int, ...]]:
        if self._may_be_keyed and self._serial.blocked([sequence]):
            self._serial.hold([sequence])
            return []
        if self._limits.are_there and (found := self._read([sequence])):
            record = found[sequence]
            queue = self._queues.number_of(record.order.queue)
            self._limits.begin(claim.now_us)
            if self._limits.queue_room(queue) < 1 or self._limits.begin_if_open(queue, record) is not None:
                return []
            self._limits.end(map(queue_of, self._in_use), is_cut_short=False)
        taken = self._run(_CLAIM_ONE, at_us, sequence, claim.now_us)
        if not taken:
            self._limits.note_ended([sequence])
        return taken

    def _take_some(self, chosen: Sequence[InLine], at_us: int) -> list[tuple[int, ...]]:
        # Those that no other engine takes at this moment.
        following = {order.sequence: index for index, order in enumerate(chosen)}
        taken = self._run(_CLAIM_THESE, at_us, as_json(following))
        taken.sort(key=lambda row: following[row[1]])
        return taken

    def choose(self, claim: Claim) -> list[InLine]:
        """The orders that a claim takes, in the sequence of their turns; in a transaction that writes.

        What is at a limit by its values is parked, and what others of its key are in the way of is held.
        """
        limits = self._limits
        has_limits = limits.are_there
        if has_limits:
            limits.begin(claim.now_us)
            for line in limits.let_go():
                self._in_use.add(line)
                self._fronts.pop(line, None)
        choice = _Choice()
        walks = [self._walk(line, claim) for line in self._in_use]
        # The order that each has come to: no other is looked at, so that no line has to be sorted by its time.
        heads = [head for walk in walks if (head := self._head(walk, claim)) is not None]
        heapify(heads)
        self._choose_some(choice, heads, claim)
        while self._may_be_keyed and self._leave_blocked(choice) and heads and not choice.is_long:
            self._go_on(heads, claim)
            self._choose_some(choice, heads, claim)
        self._hold(choice.held)
        self._end(walks)
        # Where a queue seemed to have no room, it may have some now that an order was not begun.
        is_cut_short = choice.is_long or (has_limits and bool(choice.held))
        if has_limits:
            limits.park(choice.parked)
            limits.pass_over(order.record.order for order in choice.held)
            limits.end({queue_of(line) for line in self._in_use}, is_cut_short=is_cut_short)
        self._goes_on_us = claim.now_us if is_cut_short else None
        return choice.taken

    def _choose_some(self, choice: _Choice, heads: list[_Head], claim: Claim) -> None:
        limits, taken, of_keys = self._limits, choice.taken, choice.of_keys
        has_limits = limits.are_there
        while heads and len(taken) < claim.room and not choice.is_long:
            _, _, walk = heads[0]
            if walk.is_limited and limits.queue_room(walk.queue) < 1:
                heappop(heads)
                continue
            order = walk.front.orders.popleft()
            key = order.record.order.key
            other = None if key is None else of_keys.get(key)
            if other is not None and other.sequence > order.sequence:
                taken.remove(other)
                self._take_back(choice, other)
                other = None
            if other is not None:
                choice.held.append(order)
            elif has_limits and (closed := limits.begin_if_open(walk.queue, order.record)) is not None:
                choice.parked.append((closed, order.sequence, order.record.order))
            else:
                taken.append(order)
                if key is not None:
                    of_keys[key] = order
                if len(taken) == claim.room:
                    break
            self._go_on(heads, claim)

    def _go_on(self, heads: list[_Head], claim: Claim) -> None:
        # Of the first of these lines, what was next is not any more.
        if (head := self._head(heads[0][2], claim)) is not None:
            heapreplace(heads, head)
        else:
            heappop(heads)

    def _leave_blocked(self, choice: _Choice) -> bool:
        """Take none of those that others of their key are in the way of; whether there are any."""
        unsure = choice.taken[choice.sure :]
        blocked = self._serial.blocked([order.sequence for order in unsure])
        if blocked:
            choice.taken[choice.sure :] = [order for order in unsure if order.sequence not in blocked]
            for order in unsure:
                if order.sequence in blocked:
                    self._take_back(choice, order)
        choice.sure = len(choice.taken)
        return bool(blocked)

    def _take_back(self, choice: _Choice, order: InLine) -> None:
        choice.held.append(order)
        choice.of_keys.pop(order.record.order.key or "", None)
        if self._limits.are_there:
            self._limits.take_back(order.sequence)

    def _walk(self, line: int, claim: Claim) -> Walk:
        front, queue = self._fronts.setdefault(line, Front()), queue_of(line)
        # As many as it has, if all lines give alike; then more, since it is this one that does.
        most = _LEAST_READ + claim.room // len(self._in_use)
        head_start_us = claim.aging_us * priority_of(line)
        return Walk(line, queue, front, head_start_us, most, is_limited=self._limits.has_limit(queue))

    def _head(self, walk: Walk, claim: Claim) -> _Head | None:
        """The order that it has come to, as long as its queue has room."""
        room = math.inf
        while not walk.is_limited or (room := self._limits.queue_room(walk.queue)) >= 1:
            if (order := walk.come_to_next(claim.but_not)) is not None:
                return order.since_us - walk.head_start_us, order.sequence, walk
            if walk.front.is_whole:
                break
            self._read_on(walk, int(min(walk.most, claim.room, room)) if self._database.is_shared else walk.most)
            walk.most = min(2 * walk.most, _MOST_READ)
        return None

    def _read_on(self, walk: Walk, most: int) -> None:
        begin, end = bounds_of(walk.line)
        place, last = walk.front.known_to or (begin, 0)
        rows = run(self._database, _FRONT, (place, end, place, last, most)).fetchall()
        known = self._pending.get
        orders = [InLine(row[-2], row[_SEQUENCE], row[-1], known(row[_SEQUENCE]) or order_of(row[:-2])) for row in rows]
        walk.front.extend(orders, is_whole=len(rows) < most)

    def _end(self, walks: Iterable[Walk]) -> None:
        for walk in walks:
            walk.end()
            if walk.front.is_whole and not walk.front.orders:
                self._in_use.discard(walk.line)
        # Of what other engines do to a line, nobody tells.
        if self._database.is_shared or sum(len(front.orders) for front in self._fronts.values()) > _MOST_AHEAD:
            self._forget_fronts()

    def _forget_fronts(self) -> None:
        self._fronts.clear()
        self._in_use.update(order.rank // PLACES for waiting in self._aside.values() for order in waiting.values())
        self._aside.clear()

    def _run(self, statement: str, *parameters: object) -> list[tuple[int, ...]]:
        at_us, *which = parameters
        rows: list[tuple[int, ...]] = run(self._database, statement, (at_us, self._database.owner, *which)).fetchall()
        return rows

    def _read(self, sequences: Collection[int]) -> dict[int, OrderRecord]:
        return {record.sequence: record for record in queries.numbered(self._database, sequences)}

    def _line(self, line: int) -> Turns:
        turns = self._lines.pop(line, None)
        if turns is None:
            # It has come to the first that was never taken: those before it were, and came back.
            bounds = bounds_of(line)
            untaken, first, last = run(self._database, _ENDS, 3 * bounds).fetchone()
            begin = first if untaken is None else untaken
            if begin is None or last is None:
                begin, last = bounds[0], bounds[0] - 1
            if self._limits.have_parked or self._serial.is_any_held:
                last = bounds[1]  # a user's last order may be out of line, and so behind all that are in it
            turns = Turns(begin, last, partial(self._last_of, line), weights=self._weights)
        self._lines[line] = turns
        if len(self._lines) > _MOST_LINES:
            del self._lines[next(iter(self._lines))]
        return turns

    def _bound_users(self) -> None:
        if sum(map(len, self._lines.values())) <= _MOST_USERS:
            return
        for turns in self._lines.values():
            turns.forget_past()
        for turns in sorted(self._lines.values(), key=len, reverse=True):
            if sum(map(len, self._lines.values())) > _MOST_USERS // 2:
                turns.forget()

    def _last_of(self, line: int, user_id: str) -> int | None:
        row = run(self._database, LAST_OF_USER, (user_id, *bounds_of(line))).fetchone()
        return None if row is None else int(row[0])


def next_in_line(
    database: Writer,
    claim: Claim,
    limits: ConfiguredLimits = NO_LIMITS,
    key_policy: KeyPolicy = KeyPolicy.HOLD,
) -> int | None:
    """The sequence of the order that a claim takes first; None where it takes none.

    Args:
        database: connected in this thread.
        claim: it.
        limits: those that hold where operators have set none.
        key_policy: what the next order of a key waits for.
    """
    if claim.only is not None:
        return claim.only
    with database.atomic() as transaction:
        chosen = OrderQueue(database, 0, limits, key_policy=key_policy).choose(claim._replace(room=1))
        transaction.rollback()  # nothing is parked or let go
    return chosen[0].sequence if chosen else None
