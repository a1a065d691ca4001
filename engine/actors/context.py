"""Who is who: how the actors of one engine find each other, and what they share."""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pykka import ActorDeadError

from ...store.domain.control import Control
from ...store.domain.record import rfc3339
from ..clock import Moment, SteadyClock
from ..execution.probing import Prober
from ..snapshot import ControlSnapshot, ProcessorSnapshot
from .events import EventWaiters
from .incoming import Incoming
from .messages import ResultsAwaited
from .waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pykka import ActorRef

    from ...store.domain.outlook import Accuracy
    from ...store.writer import Writer
    from ..clock import Clock
    from ..config import EngineConfig
    from ..execution.begun import BegunFile
    from ..execution.handler import Probe
    from ..execution.runner import Runner
    from ..tracing import Tracing
    from .claims import Hand


_LATEST_INCIDENTS = 100
_TOLD_BEHIND_US = 5_000_000


class Incident(NamedTuple):
    """An error that nobody expected, in one of the actors. It was logged, and the actor went on."""

    actor: str
    """The actor's class."""
    error: str
    """The error's type and text."""


class Incidents:
    """How many incidents each actor has had since the start, and the latest of them. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._latest: deque[Incident] = deque(maxlen=_LATEST_INCIDENTS)

    def note(self, incident: Incident) -> None:
        """Count one."""
        with self._lock:
            self._counts[incident.actor] += 1
            self._latest.append(incident)

    def counts(self) -> Counter[str]:
        """How many there were, by actor."""
        with self._lock:
            return self._counts.copy()

    def latest(self) -> list[Incident]:
        """The last hundred, oldest first."""
        with self._lock:
            return list(self._latest)


@dataclass(kw_only=True)
class EngineContext:
    """The actors of one engine and what they share. All are named before the first message is sent."""

    config: EngineConfig
    clock: Clock
    make_runner: Callable[[], Runner]
    """Gives each processor a place to run the handler at."""
    slots: Callable[[], int | None] = lambda: None
    """How many handlers can run at once, however many processors there are; None for any number."""
    last_step_us: int = 0
    """The stamp of the last step that the database had at the start."""
    is_simulated: bool = False
    """Whether work is only simulated, since no handler was given."""
    runners: dict[str, Runner] = field(default_factory=dict)
    """By the processors' names (URNs)."""
    probe: Probe | None = None
    """Asked about orders whose handler was cut short."""
    control: Control = field(default_factory=Control)
    """What operators have set: the recorder sets it, the pool obeys."""
    is_trying: bool = False
    """Whether the pool may start an order now and then although the engine is paused, to see if it works again."""
    suspects: set[int] = field(default_factory=set)
    """The sequences of orders that may have killed the last engine: each runs alone until it has ended once."""
    engine_id: int = field(init=False)
    """The number of this run, as the database has it; another one each time that it has to join anew."""
    has_authority: bool = True
    """Whether the engine is taken for alive: otherwise others have what it had in hand."""
    leads: bool = True
    """Whether it does the periodic work over the database: one engine does."""
    is_alone: bool = True
    """Whether no other engine over the database is alive, as it was looked at last."""
    begun: BegunFile | None = None
    """Where it is noted what has begun; None where that is not possible."""
    prober: Prober = field(init=False)
    """Asks the probe."""
    queue_clock: SteadyClock = field(init=False)
    """What `ready_at` is compared with."""
    waiters: Waiters = field(init=False)
    wake_sender: Callable[[], None] = lambda: None
    """Tells the sender of webhooks that there is something to send."""
    tracing: Tracing | None = None
    """Begins spans; None where nobody wants any."""
    event_waiters: EventWaiters = field(default_factory=EventWaiters)
    incoming: Incoming = field(default_factory=Incoming)
    """Orders that a server is reading."""
    incidents: Incidents = field(default_factory=Incidents)
    accuracy: Accuracy | None = None
    """How often it was right when orders would be over, as the recorder judged it last."""
    database: Writer | None = None
    """The connection that the recorder has open; None before it has."""
    store_trouble: str | None = None
    """Why the database does not take writes, as the recorder saw it last; None while it does."""
    hands: Callable[[], Iterable[Hand]] = tuple
    """Gives what each of the processors has in hand."""
    abandoned: int = 0
    """Handlers that have overrun their time and run on, as the pool saw it last."""
    unfit: Counter[str] = field(default_factory=Counter)
    """What keeps processors from working, in words for people, and how many of them."""
    missing: int = 0
    """Processors that are not replaced, since too many handlers are abandoned."""
    intake: ActorRef[Any] = field(init=False)
    admit: Callable[[Any], None] = field(init=False)
    """Has intake handle a submission."""
    recorder: ActorRef[Any] = field(init=False)
    pool: ActorRef[Any] = field(init=False)
    metrics: ActorRef[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.queue_clock = SteadyClock(self.clock)
        self.waiters = Waiters(self.clock)
        self.prober = Prober(self.probe, self.clock, self.config)

    def now(self) -> Moment:
        """This moment, as it is stamped and as the queue counts it."""
        return Moment(self.clock.now_us(), self.queue_clock.now_us())

    @property
    def may_start(self) -> bool:
        """Whether orders may be started, as many as the pool asks for."""
        return self.has_authority and (self.is_trying or not self.control.is_paused)

    @property
    def processors(self) -> int:
        """How many processors there are to be: no more than handlers can run at once, and one to see when they can."""
        wanted = self.config.processors if self.control.processors is None else self.control.processors
        slots = self.slots()
        return wanted if slots is None else max(1, min(wanted, slots))

    def busy(self) -> int:
        """How many processors have an order in hand at this moment."""
        return sum(hand.record is not None for hand in self.hands())

    def processor_snapshots(self) -> list[ProcessorSnapshot]:
        """What each of the processors is up to at this moment, by their numbers."""
        # To the wall clock's time, from the monotonic one's.
        ahead_us = self.clock.now_us() - self.clock.monotonic_us()
        return sorted((_told(hand, ahead_us) for hand in self.hands()), key=attrgetter("number"))

    def mailboxes(self) -> dict[str, int]:
        """How many messages wait for each of the actors that there is one of."""
        names = ("intake", "recorder", "pool", "metrics")
        return {name: getattr(self, name).actor_inbox.qsize() for name in names}

    def control_snapshot(self) -> ControlSnapshot:
        """What operators have set."""
        control = self.control
        return ControlSnapshot(
            paused=control.is_paused,
            paused_until_us=control.paused_until_us,
            reason=control.reason,
            error=control.error,
            processors=self.processors,
        )

    def hurry_results(self) -> None:
        """Have results recorded that the recorder has put off, for somebody who waits."""
        recorder: Any = self.recorder
        if recorder.actor_inbox.has_put_off:
            with suppress(ActorDeadError):  # its last act is to record them
                recorder.tell(ResultsAwaited())

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""
        behind_us = max(self.last_step_us, self.queue_clock.now_us()) - self.clock.now_us()
        warnings = []
        if behind_us > _TOLD_BEHIND_US:
            warnings.append(
                f"the machine's clock is {behind_us / 1e6:.0f} s behind what this database has seen:"
                " orders are processed as ever, and the times in their histories are wrong until it is set right"
            )
        if self.control.is_paused:
            warnings.append(self._told_pause())
        return tuple(warnings)

    def _told_pause(self) -> str:
        until_us, reason = self.control.paused_until_us, self.control.reason
        until = "until somebody resumes" if until_us is None else f"until {rfc3339(until_us)}"
        if self.control.error is not None:
            until = "until an order succeeds that is tried now and then"
        why = "" if reason is None else f": {reason}"
        return f"paused {until}, so orders are taken and none is started{why}"


def _told(hand: Hand, ahead_us: int) -> ProcessorSnapshot:
    record, began_us = hand.record, hand.began_us  # read once: another thread may change them
    if record is None:
        return ProcessorSnapshot(hand.number, hand.idle_us + ahead_us, trouble=hand.trouble)
    since_us = record.updated_us if began_us is None else began_us + ahead_us
    order = record.order
    return ProcessorSnapshot(hand.number, since_us, order.order_id, order.user_id, record.attempts)
