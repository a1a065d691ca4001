"""What the actors say to each other: commands in the imperative, events in the past tense."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, NamedTuple

from pykka import ActorRef, Future

from ...store.domain.outlook import Estimate
from ...store.domain.queue_settings import QueueState
from ...store.domain.record import Move, OrderRecord
from ...store.domain.webhook import Tried
from ..execution.handler import Effect
from ..requests import CancelOrder, RescheduleOrder
from ..snapshot import ControlSnapshot
from ..telemetry.progress import Progress


class ClaimOrders(NamedTuple):
    """From the pool to the recorder: give orders as there are any, recorded as Processing before anybody has them."""

    up_to: int
    """How many all in all, those that were given before among them."""
    recalls: int
    """How often the pool has had to return orders that found no processor: told with what is given from then on."""


class StopClaims(NamedTuple):
    """From the pool to the recorder: give no more orders."""


class ClaimsStopped(NamedTuple):
    """From the recorder to the pool: nothing that was given is on its way."""


class OrdersHandled(NamedTuple):
    """From a processor, and from the pool for orders that it returns, to the recorder: how attempts ended.

    While the recorder is busy, the sender adds to it instead of sending another.
    """

    moves: deque[Move]
    """Their steps out of Processing; the recorder takes them from the left."""


class OrdersClaimed(NamedTuple):
    """From the recorder to the pool: these orders are Processing now, and a processor may have them."""

    records: Sequence[OrderRecord]
    """In the sequence in which their turn has come."""
    given: int
    """How many were given all in all, these among them."""
    recalls: int
    """As in the latest of the pool's claims that was known by then."""
    alone: int | None = None
    """The sequence of the order that has to run alone; None where none of those that are in hand has."""


class OrdersDue(NamedTuple):
    """From the clock, and from itself, to the recorder: orders may be given that had to wait."""


class ResultsAwaited(NamedTuple):
    """To the recorder: somebody waits for an order, whose result it may have put off."""


class ControlChanged(NamedTuple):
    """From the recorder to the pool: what operators have set is another by now, and the context has it."""

    reply: Future[ControlSnapshot]
    """Set once the pool obeys."""
    control: ControlSnapshot
    """What to answer."""


class QueueChanged(NamedTuple):
    """From the recorder to the pool: operators have set something about a queue, which claims mind by now."""

    reply: Future[QueueState]
    """Set once the pool has returned what is not begun of a paused one."""
    state: QueueState
    """What to answer."""


class EndPause(NamedTuple):
    """To the recorder, at the start and from the clock: the time of a pause may be over."""


class TryBreaker(NamedTuple):
    """From the clock to the recorder: it is time to try whether what has failed works again."""


class TryOrder(NamedTuple):
    """From the recorder to the pool: although the engine is paused, start one order."""


class AdvanceActions(NamedTuple):
    """To the recorder, at the start, from itself and from the clock: go on with the bulk actions."""


class ProcessOrders(NamedTuple):
    """From the pool to an idle processor: put what is claimed through the handler, until nothing is left."""


class ProcessorIdle(NamedTuple):
    """From a processor to the pool: nothing was left."""

    processor: ActorRef[Any]
    """Who."""


class ProcessorUnfit(NamedTuple):
    """From a processor to the pool: it cannot put any order through the handler."""

    processor: ActorRef[Any]
    """Who."""
    trouble: str
    """Why, in words for people."""


class GetReady(NamedTuple):
    """From the pool to a processor that is unfit: try whether that is over."""


class TryProcessors(NamedTuple):
    """From the clock to the pool: a processor that is unfit may try whether that is over."""


class SlotsChanged(NamedTuple):
    """From where the handler runs to the pool: more handlers can run at once, or fewer."""


class ClaimsRunLow(NamedTuple):
    """From a processor, or from the clock, to the pool: hardly an order is left for who will be idle next."""


class CheckClaims(NamedTuple):
    """From the clock to the pool: what was claimed may have waited too long."""


class HandlerLost(NamedTuple):
    """From a processor to the pool: its handler was cut short, and nobody knows how far it was."""

    processor: ActorRef[Any]
    """Who."""
    record: OrderRecord
    """The order, which is not in hand any more."""
    error: str
    """What happened."""
    pays: bool = True
    """Whether that counts as a failed attempt. It does not where other orders may have been the reason."""


class HandlerNotBegun(NamedTuple):
    """From a processor to the pool: an order could not be put through the handler, or was taken back before it was."""

    processor: ActorRef[Any]
    """Who."""
    record: OrderRecord
    """The order."""
    reason: str
    """Why, in words for people."""


class EffectFound(NamedTuple):
    """From a thread of the prober to the pool: the answer about an order whose handler was cut short."""

    record: OrderRecord
    """The order."""
    error: str
    """What had happened."""
    effect: Effect
    """What the probe says."""
    pays: bool
    """Whether that counts as a failed attempt, if the effect is not done."""


class ReleaseOrder(NamedTuple):
    """From the recorder to the pool: an order that is Processing is wanted back, if it was not begun."""

    record: OrderRecord
    """The order."""
    command: CancelOrder | RescheduleOrder
    """Goes back to the recorder with the order."""

    @property
    def reply(self) -> Future[OrderRecord]:
        """The command's."""
        return self.command.reply


class OrderReleased(NamedTuple):
    """From the pool to the recorder: no processor will get this order; obey as soon as it is Pending."""

    move: Move
    """Its step back to Pending."""
    command: CancelOrder | RescheduleOrder
    """What to do then."""


class BacklogReleased(NamedTuple):
    """From the recorder to intake: the backlog shrank (or grew, by an operator's retry: negative)."""

    orders: int
    """By how many."""
    at_us: int
    """When, on the monotonic clock: the message is unhurried."""
    finished: int = 0
    """How many orders were worked off; the others were not new."""
    users: Counter[str] | None = None
    """By how many for each user; None where users are not limited."""
    received: int = 0
    """How many orders the recorder had got from intake by then."""


class LedgerCommitted(NamedTuple):
    """From the recorder to the metrics actor: what a transaction has brought."""

    changes: Counter[str]
    """What it added to each of the running totals, by their names."""
    progress: Progress | None = None
    """What became of orders; None where it only removed some."""


class ReadTotals(NamedTuple):
    """From intake and the metrics actor to the recorder: what they knew is lost, tell it anew."""


class BacklogRead(NamedTuple):
    """From the recorder to intake: the backlog as the database has it."""

    orders: int
    """Orders that are Pending or Processing."""
    received: int
    """How many orders the recorder had got from intake by then, whatever became of them."""
    users: Counter[str] | None = None
    """The orders of each user; None where users are not limited."""


class TotalsRead(NamedTuple):
    """From the recorder to the metrics actor: the running totals as the database has them."""

    totals: Counter[str]
    """By their names."""


class DeadlineCome(NamedTuple):
    """From the recorder to itself: a time may have come that orders were to be completed by."""


class NoteEstimates(NamedTuple):
    """To the recorder: clients were told when orders will be over."""

    estimates: Sequence[Estimate]
    """What they were told."""


class JudgeEstimates(NamedTuple):
    """To the recorder, at the start and from the clock: orders may be over of which it was told when they would be."""


class LookAround(NamedTuple):
    """From the clock to the recorder: see what other engines over the same database have done."""


class GiveHint(NamedTuple):
    """From the clock to the recorder: tell other engines what they could not be told a moment ago."""


class LeaseOver(NamedTuple):
    """To the pool: the engine may not be taken for alive any more, so let go of everything that is in hand."""


class OrdersLeft(NamedTuple):
    """From the recorder to the pool: nobody has these in hand any more; find out how far they are."""

    records: Sequence[OrderRecord]
    """As they were given to an engine that is lost, or was stopped without waiting."""


class Close(NamedTuple):
    """To intake: accept nothing more."""

    reply: Future[None]
    """Set when what was accepted before is with the recorder."""


class StopWork(NamedTuple):
    """To the pool: start nothing more; wait for the handlers that run, and return the rest to Pending."""

    reply: Future[None]
    """Set when no order is in hand."""


class AbandonWork(NamedTuple):
    """To the pool: the grace of a stop is over; let go of what is still in hand."""


class EndBy(NamedTuple):
    """To the recorder: the engine stops; wait for a database that is locked until then and hardly longer."""

    deadline: float
    """In seconds, by `time.monotonic`."""


class RecordRest(NamedTuple):
    """To the recorder: try once more to record the results that the database did not take."""

    reply: Future[int]
    """Set with how many are left."""


class CheckFiles(NamedTuple):
    """From the recorder to itself, and to begin with: see whether the database's files are in their place."""


class BoundLog(NamedTuple):
    """From the recorder to itself: try again to begin the write-ahead log anew."""


class DeliveriesTried(NamedTuple):
    """From the sender of webhooks to the recorder: how attempts went."""

    tries: Sequence[Tried]
    """Each of another delivery."""
    reply: Future[None]
    """Set once that is on disk."""


class PruneDeliveries(NamedTuple):
    """From itself to the recorder: remove some of what was sent to webhooks that were deleted."""


class Attend(NamedTuple):
    """From a server to the recorder: have your own thread read what orders come from."""

    file: socket
    """What they come from."""
    read: Callable[[], bool]
    """Reads what is there, without waiting; whether that may happen again."""


class PruneOrders(NamedTuple):
    """From the clock, and from itself, to the recorder: remove some of the orders that are old enough."""


class CheckTimeouts(NamedTuple):
    """From the clock to the pool: the time of some handler may be over."""


class WakeUp(NamedTuple):
    """From the clock to the pool or the recorder: a time has come that it asked to be called at."""
