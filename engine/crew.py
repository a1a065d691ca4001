"""Who is who: how the actors of one engine find each other, and what they share."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pykka import ActorRef

    from .clock import Clock
    from .config import EngineConfig
    from .executor import Bench


_LATEST_INCIDENTS = 100


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
class Crew:
    """The actors of one engine and what they share. All are named before the first message is sent."""

    config: EngineConfig
    clock: Clock
    make_bench: Callable[[], Bench]
    """Gives each processor a place to run the handler at."""
    benches: dict[str, Bench] = field(default_factory=dict)
    """By the processors' names (URNs)."""
    waiting_room: WaitingRoom = field(default_factory=WaitingRoom)
    incidents: Incidents = field(default_factory=Incidents)
    store_trouble: str | None = None
    """Why the database does not take writes, as the recorder saw it last; None while it does."""
    abandoned: int = 0
    """Handlers that have overrun their time and run on, as the pool saw it last."""
    missing: int = 0
    """Processors that are not replaced, since too many handlers are abandoned."""
    intake: ActorRef[Any] = field(init=False)
    recorder: ActorRef[Any] = field(init=False)
    pool: ActorRef[Any] = field(init=False)
    metrics: ActorRef[Any] = field(init=False)
