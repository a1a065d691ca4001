"""What all actors of the engine share: a thread that never holds up the program's exit, and a life without end."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, ClassVar, NamedTuple, Self, cast

from pykka import ActorDeadError, ActorRef, Future, ThreadingActor

from ...store.domain.order import Order
from ...store.domain.record import Cause, Move, OrderRecord
from ...store.domain.text import in_one_line
from ..clock import Timer
from ..execution.handler import describe
from ..logger import EngineLogger
from ..reply import fail
from .context import EngineContext, Incident
from .lookout import Lookout


class _Flush(NamedTuple):
    """An actor's message to itself: everything that waited in the mailbox before it is in the batch now."""


class _Look(NamedTuple):
    """To an actor: what is unhurried has waited long enough."""


_FLUSH = _Flush()
_LOOK = _Look()
_UNHURRIED_AT_MOST = 64
_PUT_OFF_SECONDS = 0.005
"""How long a batch waits for the first message that is urgent."""
_LOGGED_AT_MOST = 10


class Mailbox(queue.SimpleQueue[Any]):
    """What waits for an actor. Pykka's own is a queue.Queue, whose lock is Python code that runs for each message."""

    def __init__(self) -> None:
        self.unhurried: deque[Any] = deque()
        """Messages that nobody wakes the actor up for; it handles them before any other."""
        self.is_in_a_hurry = False
        """Whether the actor wants to be woken up for these too."""
        self.silent_until: float | None = None
        """Until when the actor waits for a message before `on_silence`, in monotonic seconds; None for ever."""
        self.on_silence: Callable[[], object] = lambda: None
        """Called in the actor's thread; it puts a message into the mailbox."""
        self.lookout: Lookout | None = None
        """What else the actor waits for; it has set this itself."""

    @property
    def has_put_off(self) -> bool:
        """Whether the actor has messages in hand that wait for others. For any thread."""
        return self.silent_until is not None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put in a message."""
        super().put(item, block, timeout)
        if self.lookout is not None:
            self.lookout.wake_up()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take out the next message, once there is one."""
        if self.lookout is not None:
            self._look_out(self.lookout)
        if self.silent_until is not None:
            try:
                return super().get(timeout=max(0.0, self.silent_until - monotonic()))
            except queue.Empty:
                self.silent_until = None
                self.on_silence()
        return super().get(block, timeout)

    def _look_out(self, lookout: Lookout) -> None:
        while self.empty():
            left = None if self.silent_until is None else self.silent_until - monotonic()
            if left is not None and left <= 0:
                return
            lookout.sleep_unless(lambda: not self.empty(), left)


class EngineActor(ThreadingActor):
    """An actor that outlives its errors.

    Pykka ends an actor at the first exception of a told message, and every actor of the process at a SystemExit; what
    waits in the mailbox would be lost. Here the error is logged and reported, those who wait for a reply get it, and
    `rebuild` makes the state anew.

    Args:
        context: the engine's actors and settings.
    """

    use_daemon_thread: ClassVar[bool] = True

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor that only its engine stops, in order: Pykka's registry does not know it."""
        actor = cls(*args, **kwargs)
        actor._start_actor_loop()
        return actor.actor_ref

    def __init__(self, context: EngineContext) -> None:
        super().__init__()
        self._context = context
        self._mailbox = cast(Mailbox, self.actor_inbox)
        self._in_hand: Sequence[Any] = ()
        self._log = EngineLogger(f"ordermill.engine.{type(self).__name__}")

    def on_receive(self, message: Any) -> None:
        """Handle what is unhurried, then a message."""
        self.catch_up()
        if message is not _LOOK:
            self._handle(message)

    def catch_up(self) -> None:
        """Handle what is unhurried."""
        unhurried = self._mailbox.unhurried
        while unhurried:
            self._handle(unhurried.popleft())

    def _handle(self, message: Any) -> None:
        """Handle one message, whatever happens; see the class."""
        self._in_hand = (message,)
        try:
            self.receive(message)
        except BaseException as error:  # even a SystemExit must not end the other actors
            self.note_incident(error)
            try:
                self.rebuild()
            except BaseException as another:  # it lives on with the state that it has, and the next error tries again
                self.note_incident(another)
            # Last, so that whoever gets the error finds the actor as it should be.
            for unanswered in self._in_hand:
                fail_message(unanswered, error)

    def receive(self, message: Any) -> None:
        """Handle one message."""
        raise NotImplementedError

    def note_incident(self, error: BaseException, messages: Sequence[Any] | None = None) -> None:
        """Log an unexpected error, and count it in the metrics. This is the last line of defence: it raises nothing.

        Args:
            error: what happened.
            messages: what it happened to; whatever is in hand by default.
        """
        self._context.incidents.note(Incident(type(self).__name__, describe(error)))
        with suppress(BaseException):  # it is counted: a log that cannot be written must not end the actor
            in_hand = self._in_hand if messages is None else messages
            order_ids = in_one_line(", ".join(some(_order_ids(in_hand)))) or "(none)"
            extra = {"request_id": " ".join(some(_request_ids(in_hand)))}
            self._log.error("unexpected error on orders %s", order_ids, exc_info=error, extra=extra)

    def tell(self, actor: ActorRef[Any], message: object) -> None:
        """Tell another actor a message; nothing happens where that one has ended."""
        with suppress(ActorDeadError):
            actor.tell(message)

    def tell_unhurried(self, actor: ActorRef[Any], message: object) -> None:
        """Tell another actor something that it need not know before it gets its next message.

        To wake an actor up costs more than most messages do. Of those that may wait there are so many at the most.
        """
        mailbox = cast(Mailbox, actor.actor_inbox)
        mailbox.unhurried.append(message)
        if mailbox.is_in_a_hurry or len(mailbox.unhurried) >= _UNHURRIED_AT_MOST:
            self.tell(actor, _LOOK)

    def tell_self(self, message: object) -> None:
        """Tell oneself a message, to be handled after what waits in the mailbox; nothing happens at the end of life."""
        self.tell(self.actor_ref, message)

    def tell_self_after(self, seconds: float, message: object) -> Timer:
        """Tell oneself a message when some time has passed; nothing happens if the actor has ended by then.

        Args:
            seconds: how much.
            message: what to tell.

        Returns:
            What the clock can cancel.
        """
        return self._context.clock.call_after(seconds, partial(self.tell_self, message))

    def rebuild(self) -> None:
        """Make the state anew after a message could not be handled; nothing to do for an actor without state."""


class BatchActor(EngineActor):
    """An actor that handles whatever waits in its mailbox as one batch.

    The first message makes it tell itself a marker. By the time that the marker comes round, everything that was in
    the mailbox is in the batch: under load batches grow by themselves, at rest nothing waits. Messages that are not
    urgent wait some milliseconds for one that is, and go with it.
    """

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._batch: list[Any] = []
        self._is_flushing = False  # the marker is on its way
        self._has_waited = False
        self._mailbox.on_silence = self._begin_flush

    def receive(self, message: Any) -> None:
        """Gather the message, or handle what was gathered."""
        if message is _FLUSH:
            self._flush()
            return
        self._batch.append(message)
        if self._is_flushing:
            return
        put_off_until = self._mailbox.silent_until
        if self.is_urgent(message) or (put_off_until is not None and monotonic() >= put_off_until):
            self._begin_flush()
        elif put_off_until is None:
            self._mailbox.silent_until = monotonic() + _PUT_OFF_SECONDS

    def is_urgent(self, message: Any) -> bool:  # noqa: ARG002  # for those that put some off
        """Whether a message is to be handled at once."""
        return True

    def await_more(self) -> bool:
        """Wait a moment for what is about to come; whether there was anything to wait for."""
        return False

    def _begin_flush(self) -> None:
        self._mailbox.silent_until = None
        self._is_flushing = True
        self.actor_ref.tell(_FLUSH)

    def _flush(self) -> None:
        if not self._has_waited and self.await_more():
            self._has_waited = True
            self.actor_ref.tell(_FLUSH)  # what has come is in the mailbox before it
            return
        self._is_flushing = self._has_waited = False
        self._in_hand, self._batch = self._batch, []
        self.receive_batch(self._in_hand)

    def receive_batch(self, messages: Sequence[Any]) -> None:
        """Handle the messages, in the sequence of their arrival."""
        raise NotImplementedError

    def on_stop(self) -> None:
        """Handle what came before the stop."""
        if self._batch:
            self._has_waited = True
            self.on_receive(_FLUSH)


def fail_message(message: Any, error: BaseException) -> None:
    """Have whoever waits for the reply to a message get the error; nothing where nobody waits any more."""
    reply = getattr(message, "reply", None)
    if isinstance(reply, Future):
        fail(reply, error)


def _order_ids(messages: Iterable[object]) -> Iterator[str]:
    for message in messages:
        if isinstance(order_id := getattr(message, "order_id", None), str):
            yield order_id
        if isinstance(message, tuple):
            for field in message:
                yield from _orders_in(field)


def _orders_in(field: object) -> Iterator[str]:
    if isinstance(field, Order | OrderRecord):
        yield field.order_id
    elif isinstance(field, Move):
        yield field.after.order_id
    elif isinstance(field, list | tuple | deque):
        for element in list(field):
            yield from _orders_in(element)


def _request_ids(messages: Iterable[object]) -> dict[str, None]:
    found = [getattr(message, "cause", None) for message in messages]
    for message in messages:
        found += getattr(message, "causes", ())
    request_ids = (cause.request_id for cause in found if isinstance(cause, Cause))
    return dict.fromkeys(request_id for request_id in request_ids if isinstance(request_id, str))


def some(names: Iterable[str]) -> list[str]:
    """These names for a line of the log, which has room for so many."""
    first = list(islice(names, _LOGGED_AT_MOST + 1))
    return first if len(first) <= _LOGGED_AT_MOST else [*first[:-1], "…"]
