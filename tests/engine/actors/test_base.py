"""What all actors share: they outlive their errors, and batches grow by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import pytest
from pykka import ActorRef, Future, ThreadingFuture, Timeout

from ordermill.engine import Cause, EngineConfig, OrderEngine
from ordermill.engine.actors import base
from ordermill.engine.actors.base import BatchActor, EngineActor, Mailbox, fail
from ordermill.engine.actors.context import EngineContext
from ordermill.engine.actors.intake import IntakeActor
from ordermill.engine.actors.messages import BacklogRead, BacklogReleased
from ordermill.engine.execution.runner import Runner
from ordermill.engine.requests import CancelOrder, SubmitOrders
from ordermill.engine.testing import ManualClock, make_order


class Divide(NamedTuple):
    """A command for the actors of this test."""

    number: int
    by: int | BaseException
    reply: Future[float]


def divide(command: Divide) -> None:
    if isinstance(command.by, BaseException):
        raise command.by
    command.reply.set(command.number / command.by)


class Divider(EngineActor):
    """Divides one number at a time."""

    rebuilt = 0

    def receive(self, message: Divide) -> None:
        divide(message)

    def rebuild(self) -> None:
        self.rebuilt += 1
        if self.rebuilt == 2:
            raise RuntimeError("cannot be rebuilt")


class BatchDivider(BatchActor):
    """Divides many numbers at once, and can be held while it does."""

    batches: list[int]
    go: threading.Event

    def receive_batch(self, messages: Sequence[Divide]) -> None:
        self.batches.append(len(messages))
        for message in messages:
            divide(message)
        assert self.go.wait(60)


class PatientDivider(BatchDivider):
    """Puts off what is divided by one, and waits for what is expected."""

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self.batches = []
        self.go = threading.Event()
        self.go.set()

    def is_urgent(self, message: Divide) -> bool:
        return message.by != 1

    def await_more(self) -> bool:
        return self._context.incoming.wait(60)


@pytest.fixture
def context(clock: ManualClock) -> EngineContext:
    """The context of an engine without actors."""
    return EngineContext(config=EngineConfig(), clock=clock, make_runner=Runner)


@pytest.fixture
def divider(context: EngineContext) -> Iterator[ActorRef[Divider]]:
    """An actor that runs."""
    actor = Divider.start(context)
    yield actor
    actor.stop()


def ask(actor: ActorRef[Any], number: int, by: int | BaseException) -> float:
    reply: Future[float] = ThreadingFuture()
    actor.tell(Divide(number, by, reply))
    return reply.get(timeout=60)


@pytest.mark.parametrize(
    "error",
    [ValueError("unexpected"), SystemExit(1), KeyboardInterrupt(), MemoryError()],
    ids=lambda e: type(e).__name__,
)
def test_an_actor_outlives_every_error_and_tells_whoever_waits(
    context: EngineContext, divider: ActorRef[Divider], error: BaseException
) -> None:
    with pytest.raises(type(error)):
        ask(divider, 1, error)

    assert ask(divider, 6, 3) == 2
    assert [(incident.actor, incident.error.partition(":")[0]) for incident in context.incidents.latest()] == [
        ("Divider", type(error).__name__)
    ]


def test_an_actor_lives_on_when_its_state_cannot_be_rebuilt(divider: ActorRef[Divider]) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            ask(divider, 1, 0)

    assert ask(divider, 6, 3) == 2
    assert divider.proxy().rebuilt.get(timeout=60) == 3


def unhurried(context: EngineContext, divider: ActorRef[Divider], by: int | BaseException = 1) -> Future[float]:
    reply: Future[float] = ThreadingFuture()
    EngineActor(context).tell_unhurried(divider, Divide(1, by, reply))
    return reply


def test_what_is_unhurried_is_handled_before_the_next_message_and_wakes_nobody_up(
    context: EngineContext, divider: ActorRef[Divider]
) -> None:
    first, poison, last = unhurried(context, divider), unhurried(context, divider, 0), unhurried(context, divider)
    with pytest.raises(Timeout):
        first.get(timeout=0.05)

    assert ask(divider, 6, 3) == 2

    assert (first.get(timeout=0), last.get(timeout=0)) == (1, 1)
    with pytest.raises(ZeroDivisionError):
        poison.get(timeout=0)


def test_so_many_unhurried_messages_wait_at_the_most(context: EngineContext, divider: ActorRef[Divider]) -> None:
    replies = [unhurried(context, divider) for _ in range(64)]

    assert [reply.get(timeout=60) for reply in replies] == [1] * 64


def test_an_actor_in_a_hurry_is_woken_up_for_what_is_unhurried(
    context: EngineContext, divider: ActorRef[Divider]
) -> None:
    cast(Mailbox, divider.actor_inbox).is_in_a_hurry = True

    assert unhurried(context, divider).get(timeout=60) == 1


class Unreadable(Exception):
    """An error whose text cannot be read."""

    def __str__(self) -> str:
        raise SystemExit(3)


@pytest.mark.parametrize(
    "message",
    [
        BacklogReleased(3, 0),
        BacklogRead(3, 3),
        CancelOrder(10**30, None),  # type: ignore[arg-type]  # what a caller may have passed
        SubmitOrders([None, {"order_id": "o-1"}, "\ud800"], None),  # type: ignore[list-item, arg-type]  # likewise
        CancelOrder("\ud800", None),
        SubmitOrders(None, 7, causes=5),  # type: ignore[arg-type]  # likewise
        "no message",
    ],
    ids=repr,
)
def test_an_actor_outlives_what_it_cannot_even_name(
    divider: ActorRef[Divider], context: EngineContext, message: object, caplog: pytest.LogCaptureFixture
) -> None:
    divider.tell(message)
    with pytest.raises(Unreadable):
        ask(divider, 1, Unreadable())

    assert ask(divider, 6, 3) == 2
    errors = [incident.error for incident in context.incidents.latest()]
    assert "Unreadable: (an error without a readable text)" in errors
    assert caplog.records
    assert all(record.getMessage().encode() for record in caplog.records)  # a file of UTF-8 can hold it


def test_an_error_is_logged_with_its_traceback(divider: ActorRef[Divider], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        ask(divider, 1, 0)

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("ordermill.engine.Divider", "ERROR")
    assert record.exc_info is not None


def test_what_waits_in_the_mailbox_becomes_one_batch(context: EngineContext) -> None:
    BatchDivider.batches, BatchDivider.go = [], threading.Event()
    actor = BatchDivider.start(context)
    replies: list[Future[float]] = [ThreadingFuture() for _ in range(51)]
    actor.tell(Divide(0, 1, replies[0]))
    assert replies[0].get(timeout=60) == 0
    for number, reply in enumerate(replies[1:], 1):
        actor.tell(Divide(number, 1, reply))
    BatchDivider.go.set()

    assert [reply.get(timeout=60) for reply in replies] == list(range(51))
    actor.stop()
    assert BatchDivider.batches == [1, 50]


def test_all_of_a_batch_are_told_of_its_error_unless_they_were_answered(context: EngineContext) -> None:
    BatchDivider.batches, BatchDivider.go = [], threading.Event()
    actor = BatchDivider.start(context)
    first: Future[float] = ThreadingFuture()
    actor.tell(Divide(0, 1, first))
    first.get(timeout=60)
    replies: list[Future[float]] = [ThreadingFuture() for _ in range(3)]
    for by, reply in zip((1, 0, 1), replies, strict=True):
        actor.tell(Divide(1, by, reply))
    BatchDivider.go.set()

    assert replies[0].get(timeout=60) == 1
    for reply in replies[1:]:
        with pytest.raises(ZeroDivisionError):
            reply.get(timeout=60)
    assert ask(actor, 6, 3) == 2
    actor.stop()


def test_a_stop_handles_what_came_before_it(context: EngineContext) -> None:
    BatchDivider.batches, BatchDivider.go = [], threading.Event()
    actor = BatchDivider.start(context)
    replies: list[Future[float]] = [ThreadingFuture() for _ in range(2)]
    actor.tell(Divide(0, 1, replies[0]))
    replies[0].get(timeout=60)
    actor.tell(Divide(1, 1, replies[1]))
    stopped = actor.stop(block=False)
    BatchDivider.go.set()

    assert stopped.get(timeout=60)
    assert replies[1].get(timeout=60) == 1


def test_an_answer_that_was_given_stays() -> None:
    reply: Future[int] = ThreadingFuture()
    reply.set(1)

    fail(reply, ValueError("too late"))

    assert reply.get(timeout=60) == 1


def test_an_actor_is_told_what_it_asked_for_when_its_time_has_come(
    divider: ActorRef[Divider], clock: ManualClock
) -> None:
    reply: Future[float] = ThreadingFuture()
    divider.proxy().tell_self_after(5, Divide(6, 3, reply)).get(timeout=60)
    clock.advance(4.999)
    assert ask(divider, 1, 1) == 1
    with pytest.raises(Exception, match="0 seconds"):
        reply.get(timeout=0)

    clock.advance(0.001)

    assert reply.get(timeout=60) == 2


def test_an_actor_that_has_ended_is_told_nothing(context: EngineContext, clock: ManualClock) -> None:
    actor = Divider.start(context)
    actor.proxy().tell_self_after(0.5, Divide(1, 1, ThreadingFuture())).get(timeout=60)
    actor.stop()

    clock.advance(1)

    assert not context.incidents.counts()


def test_an_incident_names_the_requests_whose_messages_were_in_hand(
    start_engine: Callable[..., OrderEngine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    engine = start_engine()
    with monkeypatch.context() as patch:
        patch.setattr(IntakeActor, "receive", fail)
        with pytest.raises(ZeroDivisionError):
            engine.begin_submit([make_order()], Cause("r-1")).get(timeout=60)

    assert "r-1" in [record.__dict__.get("request_id") for record in caplog.records if record.levelname == "ERROR"]


@pytest.fixture
def patient(context: EngineContext) -> Iterator[ActorRef[PatientDivider]]:
    """An actor that puts some messages off."""
    actor = PatientDivider.start(context)
    yield actor
    actor.stop()


def tell(actor: ActorRef[Any], number: int, by: int) -> Future[float]:
    reply: Future[float] = ThreadingFuture()
    actor.tell(Divide(number, by, reply))
    return reply


def test_what_is_not_urgent_goes_with_what_is(
    patient: ActorRef[PatientDivider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_PUT_OFF_SECONDS", 60)
    replies = [tell(patient, 4, 1), tell(patient, 5, 1), tell(patient, 6, 3)]

    assert [reply.get(timeout=30) for reply in replies] == [4, 5, 2]
    assert patient.proxy().batches.get(timeout=60) == [3]


def test_what_is_not_urgent_waits_some_milliseconds_at_the_most(patient: ActorRef[PatientDivider]) -> None:
    assert tell(patient, 4, 1).get(timeout=60) == 4


def test_further_ones_do_not_put_it_off_any_longer(context: EngineContext, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr(base, "monotonic", lambda: now)
    actor = PatientDivider(context)
    mailbox = cast(Mailbox, actor.actor_inbox)

    actor.receive(Divide(4, 1, ThreadingFuture()))
    now += base._PUT_OFF_SECONDS / 2
    actor.receive(Divide(5, 1, ThreadingFuture()))
    assert mailbox.empty()
    now += base._PUT_OFF_SECONDS
    actor.receive(Divide(6, 1, ThreadingFuture()))

    assert mailbox.get().message is base._FLUSH


def test_what_was_put_off_is_handled_before_the_end(context: EngineContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PUT_OFF_SECONDS", 60)
    patient = PatientDivider.start(context)
    reply = tell(patient, 4, 1)

    patient.stop()

    assert reply.get(timeout=0) == 4


def test_a_batch_waits_for_what_is_expected(context: EngineContext, patient: ActorRef[PatientDivider]) -> None:
    context.incoming.expect()
    replies = [tell(patient, 6, 3), tell(patient, 8, 2)]
    context.incoming.end()

    assert [reply.get(timeout=30) for reply in replies] == [2, 4]
    assert patient.proxy().batches.get(timeout=60) == [2]
