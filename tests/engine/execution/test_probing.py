"""Probes are asked in threads of their own, for a bounded time, and whatever they do is an answer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from ordermill.engine import Effect, EngineConfig, Order
from ordermill.engine.execution.probing import Prober
from ordermill.engine.testing import ManualClock, make_order


class Hanging:
    """A probe that does not answer until it is released."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.released = threading.Event()

    def __call__(self, order: Order) -> Effect:
        self.asked.release()
        if order.order_id.startswith("slow"):
            assert self.released.wait(60)
        return Effect.DONE


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A probe that is released in the end."""
    probe = Hanging()
    yield probe
    probe.released.set()


def prober(probe: Callable[[Order], Effect] | None, clock: ManualClock | None = None, **settings: object) -> Prober:
    return Prober(probe, clock or ManualClock(), EngineConfig.of(settings))


@pytest.mark.parametrize(
    ("on_interrupted", "effect"), [("retry", Effect.NOT_DONE), ("review", Effect.UNKNOWN)], ids=str
)
def test_without_a_probe_the_settings_say_what_to_assume(on_interrupted: str, effect: Effect) -> None:
    asked = prober(None, on_interrupted=on_interrupted)

    assert not asked.has_probe
    assert asked.ask(make_order()).get(timeout=0) is effect


@pytest.mark.parametrize("effect", list(Effect))
def test_the_answer_of_the_probe_counts(effect: Effect) -> None:
    orders: list[Order] = []

    def probe(order: Order) -> Effect:
        orders.append(order)
        return effect

    assert prober(probe).ask(make_order("o-7")).get(timeout=60) is effect
    assert orders == [make_order("o-7")]


def test_a_probe_that_raises_or_answers_nonsense_knows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(order: Order) -> Effect:
        match order.order_id:
            case "exits":
                sys.exit("no connection")
            case "nonsense":
                return "perhaps"  # type: ignore[return-value]  # that is the point
        raise ConnectionError

    asked = prober(fail)

    for order_id in ("fails", "exits", "nonsense"):
        assert asked.ask(make_order(order_id)).get(timeout=60) is Effect.UNKNOWN
        assert f"the probe failed for order {order_id}" in caplog.text


def test_more_orders_than_threads_are_asked_about_one_after_another(hanging: Hanging) -> None:
    asked = prober(hanging, processors=2)
    replies = [asked.ask(make_order(f"slow-{number}")) for number in range(5)]
    assert all(hanging.asked.acquire(timeout=60) for _ in range(2))
    assert not hanging.asked.acquire(blocking=False)

    hanging.released.set()

    assert [reply.get(timeout=60) for reply in replies] == [Effect.DONE] * 5


def test_a_probe_that_hangs_is_given_up_after_its_time_and_the_others_go_on(
    hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    asked = prober(hanging, clock, processors=2, probe_timeout=30)
    slow = asked.ask(make_order("slow"))
    assert hanging.asked.acquire(timeout=60)
    clock.advance(29.9)
    assert not slow.is_done

    clock.advance(0.1)

    assert slow.get(timeout=60) is Effect.UNKNOWN
    assert "the probe did not answer within 30 s for order slow" in caplog.text
    assert asked.ask(make_order("quick")).get(timeout=60) is Effect.DONE


def test_where_all_threads_hang_nothing_is_known_at_once_and_it_ends_when_they_come_back(hanging: Hanging) -> None:
    clock = ManualClock()
    asked = prober(hanging, clock, processors=1, probe_timeout=30)
    replies = [asked.ask(make_order(f"slow-{number}")) for number in range(3)]
    assert hanging.asked.acquire(timeout=60)

    clock.advance(30)

    assert [reply.get(timeout=60) for reply in replies] == [Effect.UNKNOWN] * 3
    assert asked.ask(make_order("quick")).get(timeout=0) is Effect.UNKNOWN
    hanging.released.set()
    for thread in threading.enumerate():
        if thread.name == "ordermill-probe":
            thread.join(60)
    assert asked.ask(make_order("quick")).get(timeout=60) is Effect.DONE


def test_an_answer_that_comes_in_time_leaves_no_timer(hanging: Hanging) -> None:
    clock = ManualClock()
    asked = prober(hanging, clock)
    for number in range(20):
        assert asked.ask(make_order(f"quick-{number}")).get(timeout=60) is Effect.DONE

    assert clock._calls.next_us() is None


def test_where_no_thread_can_be_started_nothing_is_known(monkeypatch: pytest.MonkeyPatch, hanging: Hanging) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    asked = prober(hanging)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert asked.ask(make_order("quick")).get(timeout=0) is Effect.UNKNOWN

    assert asked.ask(make_order("quick")).get(timeout=60) is Effect.DONE
