"""Who is who: how the actors of one engine find each other, and what they share."""

from __future__ import annotations

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


class Incident(NamedTuple):
    """An error that nobody expected, in one of the actors. It was logged, and the actor went on."""

    actor: str
    """The actor's class."""
    error: str
    """The error's type and text."""


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
    incidents: list[Incident] = field(default_factory=list)
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
