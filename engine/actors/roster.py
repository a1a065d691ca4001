"""Roster: the processors, and what each is up to. Starts and replaces them, and has the unfit ones try again."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from pykka import ActorRef

from ..clock import Timer
from ..execution.handler import describe
from ..logger import EngineLogger
from .claims import Claims, Hand
from .context import EngineContext
from .messages import GetReady, ProcessOrders, TryProcessors
from .processor import ProcessorActor

_TRY_SECONDS = (0.5, 30.0)
"""How soon a processor that is unfit tries again at first, and at last; that doubles from one to the next."""


class Roster:
    """The processors of an engine.

    Args:
        context: the engine's settings, and who is told how many are missing.
        claims: where processors get their orders.
        tell_after: tells the pool a message after some seconds.
        log: for what goes wrong.
    """

    def __init__(
        self, context: EngineContext, claims: Claims, tell_after: Callable[[float, object], Timer], log: EngineLogger
    ) -> None:
        self._context = context
        self._claims = claims
        self._tell_after = tell_after
        self._log = log
        self.idle: dict[ActorRef[Any], Hand] = {}
        """Those that wait for orders."""
        self.busy: dict[ActorRef[Any], Hand] = {}
        """Those that put orders through the handler."""
        self._hands: dict[ActorRef[Any], Hand] = {}  # of all but those that were abandoned: for other threads
        self._absent: dict[ActorRef[Any], Hand] = {}  # not ready yet, or unfit
        self._abandoned: dict[ActorRef[Any], Hand] = {}  # whose handler has overrun its time and runs on
        self._troubles: dict[ActorRef[Any] | None, str] = {}  # of those that are unfit; None for those without a thread
        self._resting: deque[ActorRef[Any]] = deque()  # of those, the ones that do not try just now whether they are
        self._try: Timer | None = None
        self._try_seconds = _TRY_SECONDS[0]
        self._is_closed = False
        context.hands = lambda: list(self._hands.values())

    @property
    def is_anybody_fit(self) -> bool:
        """Whether any of them can put orders through the handler."""
        return bool(self.idle or self.busy)

    def is_abandoned(self, processor: ActorRef[Any]) -> bool:
        """Whether nobody waits for this one's handler any more."""
        return processor in self._abandoned

    def begun_us(self) -> Iterator[int]:
        """Since when each of the handlers runs, on the monotonic clock, as far as that is known."""
        for hand in self.busy.values():
            if (began_us := hand.began_us) is not None:  # read once: another thread may change it
                yield began_us

    def wake_up(self, count: int) -> None:
        """Have idle ones process what is claimed, so many at the most."""
        for _ in range(min(count, len(self.idle))):
            processor, hand = self.idle.popitem()
            self.busy[processor] = hand
            processor.tell(ProcessOrders())

    def note_idle(self, processor: ActorRef[Any]) -> None:
        """One has nothing left to do, or has got ready."""
        if (hand := self.busy.pop(processor, None)) is not None:
            self.idle[processor] = hand
            self._retire()
        elif (hand := self._absent.pop(processor, None)) is not None:
            self.idle[processor] = hand
            hand.trouble = None
            if self._troubles.pop(processor, None) is not None:
                self._try_seconds = _TRY_SECONDS[0]
                self._try_again(len(self._resting))  # what is over for one may be over for the others
                self._tell_troubles()
        elif self._abandoned.pop(processor, None) is not None:
            processor.stop(block=False)
            self.replace()

    def note_unfit(self, processor: ActorRef[Any], trouble: str) -> bool:
        """One cannot put any order through the handler.

        Args:
            processor: which one.
            trouble: why, in words for people.

        Returns:
            Whether it is missed.
        """
        hand = self.busy.pop(processor, None) or self._absent.pop(processor, None)
        if hand is None:
            self.note_idle(processor)
            return False
        self._absent[processor] = hand
        hand.trouble = trouble
        if self._is_closed:
            return False
        if processor not in self._troubles:
            self._log.warning("a processor cannot work: %s", trouble)
        self._troubles[processor] = trouble
        self._resting.append(processor)
        self._tell_troubles()
        self._try_later()
        return True

    def try_again(self) -> None:
        """Start those that could not be started, and have one that is unfit try whether that is over."""
        self._try = None
        self.replace()
        self._try_again(1)

    def note_slots(self) -> None:
        """More handlers can run at once than before, or fewer; where none can, the idle find out why."""
        if self._context.slots() == 0:
            for processor, hand in self.idle.items():
                self._absent[processor] = hand
                processor.tell(GetReady())
            self.idle.clear()
        self.replace()
        self._try_again(len(self._resting))

    def abandon(self, processor: ActorRef[Any]) -> None:
        """Wait no longer for the handler of a busy one, and end it where that is possible."""
        self._abandoned[processor] = self.busy.pop(processor)
        del self._hands[processor]
        self._kill(processor)

    def abandon_all(self) -> None:
        """Likewise for all that are busy, and once more for those that were abandoned before."""
        self._abandoned.update(self.busy)
        for processor in self.busy:
            del self._hands[processor]
        self.busy.clear()
        for processor in self._abandoned:
            self._kill(processor)

    def replace(self) -> None:
        """Start as many as there should be and are not, or stop those that are too many and have nothing to do."""
        processors, max_abandoned = self._context.processors, self._context.config.max_abandoned
        self._context.abandoned = len(self._abandoned)
        self._context.missing = min(processors, max(0, len(self._abandoned) - max_abandoned))
        self._troubles.pop(None, None)
        self._retire()
        taken = {hand.number for hand in self._hands.values()}
        free = (number for number in itertools.count(1) if number not in taken)
        while not self._is_closed and self._count < self._wanted:
            hand = Hand(next(free), self._context.clock.monotonic_us())
            try:
                processor = ProcessorActor.start(self._context, self._claims, hand)
            except RuntimeError as error:
                self._troubles[None] = f"no thread can be started for more processors: {describe(error)}"
                self._try_later()
                break
            self._hands[processor] = self._absent[processor] = hand
            processor.tell(GetReady())
        self._tell_troubles()

    @property
    def _count(self) -> int:
        return len(self._absent) + len(self.idle) + len(self.busy)

    @property
    def _wanted(self) -> int:
        return self._context.processors - self._context.missing

    def _retire(self) -> None:
        # One that is at work is stopped when it has nothing left to do.
        while self._count > self._wanted and (self._absent or self.idle):
            processor, _ = (self._absent or self.idle).popitem()
            del self._hands[processor]
            if self._troubles.pop(processor, None) is not None:
                self._resting = deque(other for other in self._resting if other is not processor)
                self._tell_troubles()
            processor.stop(block=False)

    def close(self) -> None:
        """Start nobody any more, and let no handler begin, as far as that is possible."""
        self._is_closed = True
        for processor in (*self._absent, *self.busy):
            if (runner := self._context.runners.get(processor.actor_urn)) is not None:
                runner.withdraw()

    def stop(self) -> None:
        """Stop all; one whose handler still runs ends with it."""
        for processor in self.idle:
            processor.stop()
        for processor in (*self._absent, *self.busy, *self._abandoned):
            self._kill(processor)
            processor.stop(block=False)

    def _kill(self, processor: ActorRef[Any]) -> None:
        if (runner := self._context.runners.get(processor.actor_urn)) is not None:
            runner.kill()

    def _tell_troubles(self) -> None:
        self._context.unfit = Counter(self._troubles.values())

    def _try_later(self) -> None:
        if self._try is None and not self._is_closed:
            self._try = self._tell_after(self._try_seconds, TryProcessors())
            self._try_seconds = min(2 * self._try_seconds, _TRY_SECONDS[1])

    def _try_again(self, count: int) -> None:
        for _ in range(min(count, len(self._resting))):
            self._resting.popleft().tell(GetReady())
