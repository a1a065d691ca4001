"""The queue: the Pending orders, which the database holds, and which of them are next.

The orders of each priority of each queue stand in a line of their own. An order that may be processed has a place in
its line, its `rank`, and of a line they are taken in that sequence. The places of each line are a range of numbers of
their own, so that one index holds all lines, and is as small as if there were one. An order that waits for its time has
no place: it gets one when `ready_at` has come, as if it arrived at that moment. One that was taken and comes back
without a failure has its own still.

Between the lines, the next is the one whose first order has waited longest, where each priority counts as so much
time: so what is urgent goes first, and nothing starves. Where all have the same priority there is one line, and a claim
is one statement, which reads as many entries of an index as it takes orders. Otherwise each line is read so far, and
what is at a limit is passed over.
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
from peewee import SQL, Query

from . import queries
from .domain import lifecycle
from .domain.claim import Claim
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
from .rows import ORDER_COLUMN_NAMES, order_of
from .statements import ManyRows, given_values, run, run_for_each
from .tables import OrderModel
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
_NEXT = f"SELECT sequence {_LINE} ORDER BY rank, sequence LIMIT ?"
_NEXT_BUT = f"SELECT sequence {_LINE} AND sequence NOT IN {AMONG} ORDER BY rank, sequence LIMIT ?"
# Since when it waits; not since a client says that it may be begun, who would say long ago.
_FRONT = f"""
    SELECT {ORDER_COLUMN_NAMES}, rank, {{greatest}}(created_at, coalesce(not_before, 0)) {_LINE}
      AND (rank > ? OR sequence > ?)
    ORDER BY rank, sequence LIMIT ?
"""
_IF_READY = """
    SELECT sequence FROM orders
    WHERE sequence = ? AND ready_at IS NOT NULL AND held IS NULL AND parked IS NULL
      AND (rank IS NOT NULL OR ready_at <= ?)
"""
_CLAIM_NEXT, _CLAIM_NEXT_BUT, _CLAIM_ONE = (
    _CLAIM.format(f"({which}{{skip_locked}})") for which in (_NEXT, _NEXT_BUT, _IF_READY)
)
_CLAIM_THESE = _CLAIM.format(f"(SELECT sequence FROM orders WHERE sequence IN {AMONG} AND {IS_IN_LINE}{{skip_locked}})")
_TAKE_THESE = f"{_TAKE.format(AMONG)} AND {IS_IN_LINE}"
_DUE = """
    SELECT ready_at, sequence, user_id, priority, queue FROM orders
    WHERE rank IS NULL AND held IS NULL AND ready_at <= ?
    ORDER BY ready_at, sequence LIMIT ?{skip_locked}
"""
_COME_TO = f"""
    SELECT (SELECT rank {_LINE} ORDER BY rank LIMIT 1),
      (SELECT max(rank) + {STEP} FROM orders WHERE rank >= ? AND rank < ? AND status = 'Processing')
"""
_LET_IN = "UPDATE orders SET rank = ? WHERE sequence = ?"


def _let_go() -> Query:
    # In a row: sequence, rank.
    sequence, rank = SQL("given.column1"), SQL("given.column2")
    changes = {OrderModel.held: SQL("NULL"), OrderModel.rank: rank}
    return OrderModel.update(changes).from_(given_values(2)).where((OrderModel.sequence == sequence) & SQL("held = 1"))


_LET_GO = ManyRows(_let_go(), 2, "ii")
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


_Head = tuple[int, int, Walk]
"""The next order of a line: since when it counts as waiting, and its sequence, which is that of no other; and the walk
that has come to it."""


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
    """

    def __init__(
        self, database: Writer, kept: int, limits: ConfiguredLimits = NO_LIMITS, weights: Weights = NO_WEIGHTS
    ) -> None:
        self._database = database
        self._weights = weights
        self._kept = kept
        self._pending: dict[int, OrderRecord] = {}  # by sequence: those that became Pending last
        self._queues = Queues(database)
        self._limits = Limits(database, self._queues, limits)
        self._in_use = set(lines_in_use(database))  # those that orders may be in
        self._fronts: dict[int, Front] = {}  # of some of these
        self._lines: dict[int, Turns] = {}  # those that were used last
        self._next_ready_us: int | None = queries.next_ready_us(self._database)
        self._is_empty = False  # whether it is known that no order is in line
        last = queries.last_sequence(self._database)
        self._heard_of = (last, last)  # how far the sequences went when it was looked at them last, and before

    @property
    def next_ready_us(self) -> int | None:
        """When the next of those is ready that wait for their time or for a rate, on the queue's clock; None where
        none waits."""
        opens_us, ready_us = self._limits.opens_us, self._next_ready_us
        return ready_us if opens_us is None else opens_us if ready_us is None else min(opens_us, ready_us)

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
        self.note([step.after for step in returned])
        self._in_use.update([self.line_of(step.after.order) for step in returned if keeps_place(step)])
        self.note_waiting([step.after.ready_us or 0 for step in returned if not keeps_place(step)])

    def look_around(self, *, is_alone: bool = False) -> None:
        """Find out what other engines have put in line, and how far they have come.

        Args:
            is_alone: whether there is no other one that gives places.
        """
        self._fronts.clear()
        self._is_empty = False
        self._queues.read()
        self._limits.look_around()
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

    def let_go(self, held: Iterable[Standing], now_us: int) -> None:
        """Orders are held no longer: those whose time has come get places, as if they arrived at this moment.

        Args:
            held: the orders.
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        """
        released = sorted(held)
        due = [order for order in released if order.ready_us <= now_us]
        waiting = released[len(due) :]
        places = [*self._places_of(due), *[None] * len(waiting)]
        _LET_GO.run(self._database, [order.sequence for order in released], places)
        self.note_waiting([order.ready_us for order in waiting])

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
        self._is_empty = is_sure and len(steps) < claim.room
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
        if claim.only is None and (len(self._in_use) > 1 or self._limits.are_there):
            chosen = self.choose(claim)
            if not chosen:
                return []
            if not self._database.is_shared:
                return self._take_all(chosen, at_us)
            taken = self._take_some(chosen, at_us)
            known = {order.sequence: order.record for order in chosen}
        else:
            self._fronts.clear()  # it is not known which orders are taken
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
        if self._limits.are_there and (found := self._read([sequence])):
            order = found[sequence].order
            queue = self._queues.number_of(order.queue)
            self._limits.begin(claim.now_us)
            if self._limits.queue_room(queue) < 1 or self._limits.begin_if_open(queue, order) is not None:
                return []
            self._limits.end(map(queue_of, self._in_use), is_cut_short=False)
        return self._run(_CLAIM_ONE, at_us, sequence, claim.now_us)

    def _take_some(self, chosen: Sequence[InLine], at_us: int) -> list[tuple[int, ...]]:
        # Those that no other engine takes at this moment.
        following = {order.sequence: index for index, order in enumerate(chosen)}
        taken = self._run(_CLAIM_THESE, at_us, as_json(following))
        taken.sort(key=lambda row: following[row[1]])
        return taken

    def choose(self, claim: Claim) -> list[InLine]:
        """The orders that a claim takes, in the sequence of their turns; what is at a limit by its values is parked. In
        a transaction that writes."""
        limits = self._limits
        has_limits = limits.are_there
        if has_limits:
            limits.begin(claim.now_us)
            for line in limits.let_go():
                self._in_use.add(line)
                self._fronts.pop(line, None)
        chosen: list[InLine] = []
        parked: list[tuple[str, int, Order]] = []
        walks = [self._walk(line, claim) for line in self._in_use]
        # The order that each has come to: no other is looked at, so that no line has to be sorted by its time.
        heads = [head for walk in walks if (head := self._head(walk, claim)) is not None]
        heapify(heads)
        while heads:
            _, _, walk = heads[0]
            if walk.is_limited and limits.queue_room(walk.queue) < 1:
                heappop(heads)
                continue
            order = walk.front.orders.popleft()
            closed = limits.begin_if_open(walk.queue, order.record.order) if has_limits else None
            if closed is None:
                chosen.append(order)
                if len(chosen) == claim.room:
                    break
            else:
                parked.append((closed, order.sequence, order.record.order))
                if len(parked) == _MOST_PARKED:
                    break
            if (head := self._head(walk, claim)) is not None:
                heapreplace(heads, head)
            else:
                heappop(heads)
        self._end(walks)
        if has_limits:
            limits.park(parked)
            limits.end({queue_of(line) for line in self._in_use}, is_cut_short=len(parked) == _MOST_PARKED)
        return chosen

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
        place, last = walk.known_to or (begin, 0)
        rows = run(self._database, _FRONT, (place, end, place, last, most)).fetchall()
        known = self._pending.get
        orders = [InLine(row[-2], row[_SEQUENCE], row[-1], known(row[_SEQUENCE]) or order_of(row[:-2])) for row in rows]
        walk.extend(orders, is_whole=len(rows) < most)

    def _end(self, walks: Iterable[Walk]) -> None:
        for walk in walks:
            if walk.front.is_whole and walk.known_to is None:
                self._in_use.discard(walk.line)
            walk.end()
        # Of what other engines do to a line, nobody tells.
        if self._database.is_shared or sum(len(front.orders) for front in self._fronts.values()) > _MOST_AHEAD:
            self._fronts.clear()

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
            if self._limits.have_parked:
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


def next_in_line(database: Writer, claim: Claim, limits: ConfiguredLimits = NO_LIMITS) -> int | None:
    """The sequence of the order that a claim takes first; None where it takes none.

    Args:
        database: connected in this thread.
        claim: it.
        limits: those that hold where operators have set none.
    """
    if claim.only is not None:
        return claim.only
    with database.atomic() as transaction:
        chosen = OrderQueue(database, 0, limits).choose(claim._replace(room=1))
        transaction.rollback()  # nothing is parked or let go
    return chosen[0].sequence if chosen else None
