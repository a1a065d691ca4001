"""Simulation: one way in which the backlog may be worked off, from event to event under a virtual clock.

Orders are taken by the queue's own rule, turns, priorities, keys and limits included; attempts that fail are tried
again by the engine's own. What an attempt takes, and how it ends, is drawn from those that were measured; so is who
orders what.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count, pairwise, repeat
from operator import itemgetter
from random import Random
from typing import NamedTuple

from ...store.domain.key_policy import KeyPolicy
from ...store.limited_lines import LimitedLines
from ...store.lines import InLine, Lines
from ...store.queues import priority_of
from ...store.rehearsals import Arrived, Backlog, keys_in_way
from ..config import EngineConfig
from ..execution.retry import next_attempt_seconds
from .curve import Curve
from .service_times import COMPLETED, FAILED, Service

_NEVER = 1 << 62
_DRAWN_AT_ONCE = 4_096


class Setup(NamedTuple):
    """What all runs have in common. Times are microseconds since 1970-01-01T00:00:00Z."""

    backlog: Backlog
    in_line: InLine
    """Those of it that stand in line..."""
    slots: Sequence[int]
    """... and the slot of each."""
    config: EngineConfig
    processors: int
    is_paused: Callable[[str, int], bool] | None
    """Tells of a user and the number of a line whether such orders are not begun; None where all are."""
    begin_us: int
    """When it begins."""
    start_us: int
    """When orders are begun again, where the engine is paused; otherwise the same."""
    fail_until_us: int
    """Attempts that begin before fail."""
    arrived: Sequence[Arrived]
    """Orders as they arrive, the newest first."""
    end_us: int
    """It goes no further, ..."""
    most_events: int
    """... and has no more events."""

    @property
    def aging_us(self) -> int:
        """The time that counts as much as one priority."""
        return round(self.config.aging_seconds * 1e6)


class Outcome(NamedTuple):
    """What came of a run."""

    empty_us: int | None
    """How long it took until nothing was left that could be begun; None where it was cut short."""
    took_us: int
    """How long it took, or had taken when it was cut short."""
    left: int
    """Orders that were unfinished then."""
    failed: int
    """Orders that were Failed for good."""
    broken: list[int]
    """The slots of the orders whose deadline has broken."""
    curve: Curve


class Simulation:
    """One run.

    Args:
        setup: what all runs have in common.
        services: what attempts take.
        failing: what attempts take that fail while everything does.
        arrivals_per_second: of orders; 0 for none.
        random: decides.
    """

    def __init__(
        self,
        setup: Setup,
        services: Sequence[Service],
        failing: Sequence[Service],
        arrivals_per_second: float,
        random: Random,
    ) -> None:
        found = setup.backlog
        self._setup, self._found, self._config = setup, found, setup.config
        self._random = random
        self._services = _drawn(services, random)
        self._failing = _drawn([Service(took_us, FAILED) for took_us, _ in failing], random)
        self._now = setup.begin_us
        self._curve = Curve(setup.begin_us)
        self._events = 0

        self._arrived: dict[int, tuple[Arrived, int]] = {}  # by slot, with the number of its arrival
        self._joined: list[int] = []  # the slots of those that have joined, in that sequence
        self._limited = self._limited_lines()
        self._lines = Lines(setup.in_line, setup.config.user_weights) if self._limited is None else self._limited
        self._busy: list[tuple[int, int, int]] = []  # when each attempt ends, the order's slot, and how
        self._claimed: deque[int] = deque()  # the slots of those that are Processing without a processor
        self._free = setup.processors
        self._backlog = len(found.sequences)
        self._failures = found.failures.copy()
        self._failed = 0
        self._due = found.deadlines.copy()
        self._broken: list[int] = []

        self._waiting = [
            (ready_us, found.sequences[slot], slot) for ready_us, slot in found.waiting if not self._is_paused(slot)
        ]
        heapify(self._waiting)
        self._in_way = keys_in_way(found)
        self._held: dict[str, list[tuple[int, int, int]]] = {}  # by key: arrival, when ready, slot
        self._places: dict[int, int] = {}  # of those of these that have one, by slot
        for ready_us, slot, rank in found.held:
            if not self._is_paused(slot):
                heappush(self._held.setdefault(found.keys[slot], []), (found.sequences[slot], ready_us, slot))
                if rank is not None:
                    self._places[slot] = rank
                    self._lines.keep_place(found.lines[slot], found.users[slot], rank)
        for key in [*self._held]:  # an action may have moved what was in their way
            self._let_go(key)

        self._slots = count(len(found.sequences))
        self._sequences = count(max(found.sequences, default=0) + 1)
        self._gaps_us = _gaps(setup.arrived, arrivals_per_second, random)
        self._next_arrival = self._now + next(self._gaps_us)

        self._paused_until = setup.start_us
        self._failures_in_row = 0
        self._is_open = False
        """Whether the circuit breaker is: then one attempt is made now and then."""
        self._take_in_hand(services)

    def run(self) -> Outcome:
        """Go through it to the end."""
        setup, busy = self._setup, self._busy
        while True:
            self._begin()
            next_us = self._next_us()
            if busy and busy[0][0] <= min(next_us, setup.end_us):
                self._work(min(next_us, setup.end_us))
            elif next_us == _NEVER or self._is_empty():
                return self._outcome(is_over=True)
            elif min(next_us, busy[0][0] if busy else _NEVER) > setup.end_us:
                self._go_on_to(setup.end_us)
                return self._outcome(is_over=False)
            else:
                self._go_on_to(next_us)
                self._let_in()
            if self._events >= setup.most_events:
                return self._outcome(is_over=False)

    def _is_empty(self) -> bool:
        return not (self._busy or self._claimed or self._lines or self._waiting)

    def _next_us(self) -> int:
        next_us = self._waiting[0][0] if self._waiting else _NEVER
        paused_until = self._paused_until if self._paused_until > self._now else _NEVER
        opens_us = None if self._limited is None or not self._free else self._limited.opens_us
        opens_us = _NEVER if opens_us is None or opens_us <= self._now else opens_us
        return min(next_us, self._next_arrival, paused_until, opens_us)

    def _go_on_to(self, now: int) -> None:
        self._events += 1
        if now >= self._curve.next_us:
            self._curve.note(self._backlog, now)
        self._now = max(self._now, now)

    def _begin(self) -> None:
        while self._free and self._now >= self._paused_until and (self._claimed or self._lines):
            slot = self._next()
            if slot is None:
                break
            took_us, end = self._draw()
            heappush(self._busy, (self._now + took_us, slot, end))
            self._free -= 1
            if self._is_open:
                self._pause()

    def _next(self) -> int | None:
        if self._claimed:
            return self._claimed.popleft()
        index = self._lines.take() if self._limited is None else self._limited.take_at(self._now)
        return None if index is None else self._slot_at(index)

    def _slot_at(self, index: int) -> int:
        slots = self._setup.slots
        return slots[index] if index < len(slots) else self._joined[index - len(slots)]

    def _draw(self) -> Service:
        return next(self._failing if self._now < self._setup.fail_until_us else self._services)

    def _work(self, until_us: int) -> None:
        # What nearly all of the time is spent on: an attempt ends, and the next one begins. Nobody joins meanwhile.
        busy, waiting, lines, claimed = self._busy, self._waiting, self._lines, self._claimed
        curve, services, slots = self._curve, self._services, self._setup.slots
        failures, due, keys, given = self._failures, self._due, self._found.keys, len(self._found.sequences)
        is_limited = self._limited is not None
        is_counted = is_limited or self._config.breaker_failures is not None
        begin_us = max(self._paused_until, self._setup.fail_until_us)
        index, stop = (0, 0) if is_limited else lines.stretch()
        begin = index
        now, left = self._now, self._setup.most_events - self._events
        while busy and left > 0:
            ends_us, slot, end = busy[0]
            if ends_us > until_us:
                break
            now = ends_us
            left -= 1
            if now >= curve.next_us:
                curve.note(self._backlog, now)
            if end or is_counted or slot >= given or slot in failures or slot in due or slot in keys:
                self._now = now
                self._end(slot, end)
                if waiting and waiting[0][0] < until_us:
                    until_us = max(now, waiting[0][0])
            else:
                self._backlog -= 1
            if now < begin_us or self._is_open or is_limited or (waiting and waiting[0][0] <= now):
                heappop(busy)
                self._free += 1
                break
            if claimed:
                slot = claimed.popleft()
            elif index < stop:
                slot = slots[index]
                index += 1
            else:
                if index > begin:
                    lines.skip_to(index)
                    begin = index
                if not lines:
                    heappop(busy)
                    self._free += 1
                    continue
                slot = self._slot_at(lines.take())
            took_us, end = next(services)
            heapreplace(busy, (now + took_us, slot, end))
        if index > begin:
            lines.skip_to(index)
        self._now, self._events = now, self._setup.most_events - left
        if waiting and waiting[0][0] <= now:
            self._let_in()  # before the next attempt begins

    def _end(self, slot: int, end: int) -> None:
        if self._limited is not None:
            self._limited.note_ended(self._line_of(slot), self._limits_of(slot))
        if end == FAILED:
            self._note_failure()
            failures = self._failures.get(slot, 0) + 1
            delay = next_attempt_seconds(failures, self._config, self._random.uniform)
            if delay is not None:
                self._failures[slot] = failures
                self._try_again(slot, self._now + round(delay * 1e6))
                return
            self._failed += 1
        else:
            self._failures_in_row = 0
            if self._is_open:
                self._is_open, self._paused_until = False, self._now
        self._leave(slot, end)

    def _note_failure(self) -> None:
        self._failures_in_row += 1
        most = self._config.breaker_failures
        if most is not None and not self._is_open and self._failures_in_row >= most:
            self._is_open = True
            self._pause()

    def _pause(self) -> None:
        self._paused_until = self._now + round(self._config.breaker_seconds * 1e6)

    def _try_again(self, slot: int, ready_us: int) -> None:
        if slot < len(self._found.sequences) and self._is_paused(slot):
            return
        sequence, key = self._sequence_of(slot), self._key_of(slot)
        if key is not None and self._config.key_policy is KeyPolicy.CONTINUE:
            self._in_way[key] -= 1
            heappush(self._held.setdefault(key, []), (sequence, ready_us, slot))
            self._let_go(key)
        else:
            heappush(self._waiting, (ready_us, sequence, slot))

    def _leave(self, slot: int, end: int) -> None:
        key = self._key_of(slot)
        self._backlog -= 1
        self._failures.pop(slot, None)
        self._arrived.pop(slot, None)
        due_us = self._due.pop(slot, None)
        if due_us is not None and (end != COMPLETED or self._now > due_us):
            self._broken.append(slot)
        if key is not None and (end == COMPLETED or self._config.key_policy is not KeyPolicy.HALT):
            self._in_way[key] -= 1
            self._let_go(key)

    def _let_go(self, key: str) -> None:
        # Whoever is let go may be begun once it is ready, and is in the way of the others of its key.
        held = self._held.get(key)
        if not held or self._in_way[key] or key in self._found.blocking:
            return
        chosen = held[0]
        if self._config.key_policy is KeyPolicy.CONTINUE and chosen[1] > self._now:
            due = [entry for entry in held if entry[1] <= self._now]
            chosen = min(due, default=None) or min(held, key=itemgetter(1, 0))
        if chosen is held[0]:
            heappop(held)
        else:
            held.remove(chosen)
            heapify(held)
        sequence, ready_us, slot = chosen
        self._in_way[key] += 1
        heappush(self._waiting, (max(self._now, ready_us), sequence, slot))

    def _let_in(self) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= self._now:
            self._join(heappop(waiting)[2])
        while self._next_arrival <= self._now:
            self._arrive()
            self._next_arrival += next(self._gaps_us)

    def _join(self, slot: int) -> None:
        found = self._found
        if slot < len(found.sequences):
            line, user, since_us = found.lines[slot], found.users[slot], found.since_us[slot]
        else:
            order, _ = self._arrived[slot]
            line, user, since_us = order.line, order.user_id, order.at_us + (order.begins_after_us or 0)
        index = len(self._setup.slots) + len(self._joined)
        self._joined.append(slot)
        since_us -= self._setup.aging_us * priority_of(line)
        self._lines.join(index, self._sequence_of(slot), line, user, since_us, self._places.pop(slot, None))

    def _arrive(self) -> None:
        order = self._random.choice(self._setup.arrived)._replace(at_us=self._now)
        self._backlog += 1
        self._events += 1
        is_paused = self._setup.is_paused
        if is_paused is not None and is_paused(order.user_id, order.line):
            return
        slot, sequence = next(self._slots), next(self._sequences)
        self._arrived[slot] = (order, sequence)
        ready_us = self._now + max(0, order.begins_after_us or 0)
        key = order.key
        if key is not None:
            if ready_us <= self._now:
                self._places[slot] = self._lines.give(order.line, order.user_id)
            heappush(self._held.setdefault(key, []), (sequence, ready_us, slot))
            self._let_go(key)
        elif ready_us > self._now:
            heappush(self._waiting, (ready_us, sequence, slot))
        else:
            self._join(slot)

    def _is_paused(self, slot: int) -> bool:
        is_paused, found = self._setup.is_paused, self._found
        return is_paused is not None and is_paused(found.users[slot], found.lines[slot])

    def _sequence_of(self, slot: int) -> int:
        sequences = self._found.sequences
        return sequences[slot] if slot < len(sequences) else self._arrived[slot][1]

    def _key_of(self, slot: int) -> str | None:
        arrived = self._arrived.get(slot)
        return self._found.keys.get(slot) if arrived is None else arrived[0].key

    def _line_of(self, slot: int) -> int:
        arrived = self._arrived.get(slot)
        return self._found.lines[slot] if arrived is None else arrived[0].line

    def _limits_of(self, slot: int) -> Sequence[str]:
        arrived = self._arrived.get(slot)
        if arrived is not None:
            return arrived[0].limits
        limits = self._found.limited_by
        return limits[slot] if limits else ()

    def _limited_lines(self) -> LimitedLines | None:
        found, setup = self._found, self._setup
        if found.limits is None:
            return None
        weights = setup.config.user_weights
        lines = LimitedLines(setup.in_line, weights, found.limits, lambda index: self._limits_of(self._slot_at(index)))
        for name, rank, slot in found.parked:
            if not self._is_paused(slot):
                line = found.lines[slot]
                since_us = found.since_us[slot] - setup.aging_us * priority_of(line)
                index = len(setup.slots) + len(self._joined)
                self._joined.append(slot)
                lines.park(name, line, (rank, found.sequences[slot], since_us, index, found.users[slot]))
        for _, slot in found.in_hand:
            lines.note_begun(self._line_of(slot), self._limits_of(slot))
        return lines

    def _take_in_hand(self, services: Sequence[Service]) -> None:
        # Of those that have begun, what is left is as of measured ones that took longer than they have yet.
        by_length = sorted(services)
        for began_us, slot in self._found.in_hand:
            if not self._free:
                self._claimed.append(slot)
                continue
            begun_us = max(0, self._now - began_us)
            longer = bisect_right(by_length, begun_us, key=itemgetter(0))
            left_us, end = begun_us, COMPLETED  # longer than any: as long again, as of a heavy tail
            if longer < len(by_length):
                took_us, end = by_length[self._random.randrange(longer, len(by_length))]
                left_us = took_us - begun_us
            heappush(self._busy, (self._now + left_us, slot, end))
            self._free -= 1

    def _outcome(self, *, is_over: bool) -> Outcome:
        took_us = self._now - self._setup.begin_us
        left = [slot for slot, due_us in self._due.items() if is_over or due_us < self._now]
        broken = self._broken + left
        return Outcome(took_us if is_over else None, took_us, self._backlog, self._failed, broken, self._curve)


def _drawn(services: Sequence[Service], random: Random) -> Iterator[Service]:
    while services:
        yield from random.choices(services, k=_DRAWN_AT_ONCE)


def _gaps(arrived: Sequence[Arrived], arrivals_per_second: float, random: Random) -> Iterator[int]:
    """The times between two arrivals: those that were measured, longer or shorter by one factor."""
    if arrivals_per_second <= 0 or not arrived:
        yield from repeat(_NEVER)
    gaps = [max(0, later.at_us - earlier.at_us) for later, earlier in pairwise(arrived)]
    mean_us = 1e6 / arrivals_per_second
    if not sum(gaps):  # all came at once, or there is one only: nothing is known but how many there are
        while True:
            yield round(random.expovariate(1 / mean_us))
    factor = mean_us * len(gaps) / sum(gaps)
    while True:
        for gap in random.choices(gaps, k=_DRAWN_AT_ONCE):
            yield round(gap * factor)
