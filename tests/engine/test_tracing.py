"""Spans: one until orders are on disk, as a part of the caller's trace, and one for each attempt, linked to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Never

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ordermill.engine import (
    BacklogFull,
    InvalidConfiguration,
    Order,
    OrderEngine,
    OrderStatus,
    Reject,
    Reply,
    StoreUnavailable,
)
from ordermill.engine.requests import SubmitOrders
from ordermill.engine.testing import make_order
from ordermill.store import trace_contexts
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.domain.record import Cause

StartEngine = Callable[..., OrderEngine]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_exporter = InMemorySpanExporter()


@pytest.fixture
def spans() -> Iterator[Callable[[str], list[ReadableSpan]]]:
    """The spans of a name that have ended, in the sequence in which they began."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):  # there is one for a process, and it stays
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(_exporter))
        trace.set_tracer_provider(provider)
    _exporter.clear()

    def find(name: str) -> list[ReadableSpan]:
        found = [span for span in _exporter.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)

    yield find
    _exporter.clear()


Spans = Callable[[str], list[ReadableSpan]]


def test_an_attempt_is_linked_to_the_request_that_brought_its_order(start_engine: StartEngine, spans: Spans) -> None:
    current: list[int] = []
    engine = start_engine(lambda _: current.append(trace.get_current_span().get_span_context().span_id), tracing=True)

    engine.begin_submit([make_order("o-1")], Cause("r-1", None, TRACEPARENT)).get(timeout=30)
    engine.drain(timeout=30)
    engine.stop()

    (sent,), (processed,) = spans("send orders"), spans("process orders")
    assert sent.parent is not None
    assert f"{sent.parent.trace_id:032x}-{sent.parent.span_id:016x}" == TRACEPARENT[3:-3]
    assert sent.kind is trace.SpanKind.PRODUCER
    assert sent.attributes is not None
    assert sent.attributes["messaging.message.id"] == "o-1"
    assert [link.context.span_id for link in processed.links] == [sent.context.span_id]
    assert (processed.kind, processed.parent) == (trace.SpanKind.CONSUMER, None)
    assert processed.attributes is not None
    assert processed.attributes["ordermill.attempt"] == 1
    assert processed.status.is_ok or processed.status.is_unset
    assert current == [processed.context.span_id]


def test_each_attempt_has_a_span_that_says_how_it_went(start_engine: StartEngine, spans: Spans) -> None:
    outcomes = iter([ConnectionError("no answer"), Reject("the card has expired")])

    def charge(_: Order) -> None:
        raise next(outcomes)

    engine = start_engine(charge, tracing=True, retry_seconds=0)
    engine.submit(make_order("o-1")).wait(timeout=30)
    engine.stop()

    (sent,), processed = spans("send orders"), spans("process orders")
    assert [span.attributes and span.attributes["error.type"] for span in processed] == ["ConnectionError", "Rejected"]
    assert [span.status.status_code for span in processed] == [trace.StatusCode.ERROR] * 2
    assert {link.context.span_id for span in processed for link in span.links} == {sent.context.span_id}


def test_a_caller_s_own_span_is_the_parent_and_many_orders_have_one(start_engine: StartEngine, spans: Spans) -> None:
    engine = start_engine(tracing=True)

    with trace.get_tracer("shop").start_as_current_span("checkout") as checkout:
        engine.submit_many([make_order("o-1"), make_order("o-2")])
    engine.drain(timeout=30)
    engine.stop()

    (sent,) = spans("send orders")
    assert sent.parent is not None
    assert sent.parent.span_id == checkout.get_span_context().span_id
    assert sent.attributes is not None
    assert sent.attributes["messaging.batch.message_count"] == 2
    assert len(spans("process orders")) == 2


def test_orders_that_are_not_taken_end_their_span_with_the_error(start_engine: StartEngine, spans: Spans) -> None:
    engine = start_engine(tracing=True, max_backlog=1)

    with pytest.raises(BacklogFull):
        engine.submit_many([make_order("o-1"), make_order("o-2")])
    engine.stop()

    (sent,) = spans("send orders")
    assert sent.attributes is not None
    assert sent.attributes["error.type"] == "SubmissionTooLarge"


def test_nothing_is_traced_that_nobody_wants(start_engine: StartEngine, spans: Spans) -> None:
    engine = start_engine()

    engine.submit(make_order("o-1")).wait(timeout=30)
    engine.stop()

    assert spans("send orders") == spans("process orders") == []


def test_an_engine_that_is_to_trace_without_opentelemetry_says_what_to_install(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(InvalidConfiguration, match=r"pip install 'ordermill\[opentelemetry\]'"):
        start_engine(tracing=True)


def test_the_orders_of_one_request_have_one_span_although_each_has_a_cause_of_its_own(
    start_engine: StartEngine, spans: Spans
) -> None:
    engine = start_engine(tracing=True)
    causes = [Cause(name, None, TRACEPARENT) for name in ("r-1", "r-1", "r-2")]
    reply: Reply[list[Acceptance]] = Reply()

    engine.send(SubmitOrders([make_order(f"o-{number}") for number in range(3)], reply, causes))
    reply.get(timeout=30)
    engine.drain(timeout=30)
    engine.stop()

    sent = {span.context.span_id: span.attributes for span in spans("send orders")}
    assert [about and about.get("messaging.batch.message_count") for about in sent.values()] == [2, None]
    assert sorted(link.context.span_id for span in spans("process orders") for link in span.links) == sorted(
        [*sent, next(iter(sent))]
    )


def test_orders_are_worth_more_than_their_spans(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        """A tracer that somebody has made a mistake in."""

        def start_span(self, *_: object) -> Never:
            raise RuntimeError("no room for a span")

    monkeypatch.setattr(trace, "get_tracer", lambda _: Broken())
    engine = start_engine(tracing=True)

    assert engine.submit(make_order("o-1")).wait(timeout=30) is OrderStatus.COMPLETED
    assert "a span was not told: RuntimeError: no room for a span" in caplog.text


def test_an_attempt_whose_order_s_trace_cannot_be_read_is_made_all_the_same(
    start_engine: StartEngine, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Never:
        raise StoreUnavailable(OSError("disk I/O error"))

    monkeypatch.setattr(trace_contexts, "find", fail)
    engine = start_engine(tracing=True)

    assert engine.submit(make_order("o-1")).wait(timeout=30) is OrderStatus.COMPLETED
    engine.stop()
    (processed,) = spans("process orders")
    assert processed.links == ()
