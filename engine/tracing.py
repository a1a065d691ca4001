"""Tracing: spans of OpenTelemetry, where it is installed and wanted. One from handing orders in until they are on disk,
and one for each attempt, which is linked to the first.

Names are those of OpenTelemetry's conventions for messaging: https://opentelemetry.io/docs/specs/semconv/messaging/.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..store.domain.errors import InvalidConfiguration, OrdermillError
from ..store.domain.order import Order
from ..store.domain.record import ENGINE, Cause, OrderRecord
from .execution.attempt import Failed, Outcome, Returned
from .execution.handler import describe
from .logger import EngineLogger
from .reply import Reply
from .requests import SubmitOrders

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

_HEADER = "traceparent"
_OF_ORDERS = {"messaging.system": "ordermill", "messaging.destination.name": "orders"}


class Tracing:
    """Begins and ends spans. Where they go is up to the provider that the program has set.

    Args:
        find: the trace context that is stored with an order, by its sequence; None where none is.

    Raises:
        InvalidConfiguration: OpenTelemetry is not installed.
    """

    def __init__(self, find: Callable[[int], str | None]) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.context import Context
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise InvalidConfiguration(
                "tracing needs OpenTelemetry: install it with pip install 'ordermill[opentelemetry]'."
            ) from error
        self._find = find
        self._log = EngineLogger("ordermill.engine.tracing")
        self._trace = trace
        self._tracer = trace.get_tracer("ordermill")
        self._propagator = TraceContextTextMapPropagator()
        self._nowhere = Context()

    @contextmanager
    def sending(self, request: SubmitOrders) -> Iterator[SubmitOrders]:
        """While orders are passed on: begin a span for each request that brings some, which ends with the reply.

        Gives the same request, whose causes name those spans: these are what the attempts are linked to.
        """
        spans: list[Span] = []
        with self._harmlessly():
            request = self._named(request, spans)
        if isinstance(reply := request.reply, Reply):
            reply.when_done(lambda: self._end(spans, _error_of(reply)))
        try:
            yield request
        except BaseException as error:  # it was not passed on, so no reply comes
            self._end(spans, error)
            raise

    def attempt(self, record: OrderRecord, run: Callable[[], Outcome]) -> Outcome:
        """Make an attempt at an order within a span, which is the current one meanwhile.

        Args:
            record: the order.
            run: makes the attempt.
        """
        span: Span = self._trace.INVALID_SPAN
        with self._harmlessly():
            span = self._tracer.start_span(
                "process orders",
                self._nowhere,
                self._trace.SpanKind.CONSUMER,
                _attributes("process", {"messaging.message.id": record.order_id, "ordermill.attempt": record.attempts}),
                self._links(record),
            )
        try:
            with self._trace.use_span(span, record_exception=False, set_status_on_exception=False):
                outcome = run()
            if not isinstance(outcome, Returned):
                text = outcome.error if isinstance(outcome, Failed) else None
                with self._harmlessly():
                    self._mark(span, type(outcome).__name__ if text is None else text.partition(":")[0], text)
        finally:
            with self._harmlessly():
                span.end()
        return outcome

    def _named(self, request: SubmitOrders, spans: list[Span]) -> SubmitOrders:
        causes = request.causes or (ENGINE,) * len(request.orders)
        counts = Counter(causes)  # the orders of one request share its cause
        named: dict[Cause, Cause] = {}
        for order, cause in zip(request.orders, causes, strict=True):
            if cause not in named:
                span = self._tracer.start_span(
                    "send orders",
                    None if cause.traceparent is None else self._context(cause.traceparent),
                    self._trace.SpanKind.PRODUCER,
                    _attributes("send", _message(order, counts[cause])),
                )
                spans.append(span)
                named[cause] = cause._replace(traceparent=self._name(span) or cause.traceparent)
        return request._replace(causes=tuple([named[cause] for cause in causes]))

    def _links(self, record: OrderRecord) -> list[Any]:
        try:
            traceparent = self._find(record.sequence)
        except OrdermillError:  # the database does not answer now: the attempt is made all the same, without a link
            traceparent = None
        if traceparent is None:
            return []
        span = self._trace.get_current_span(self._context(traceparent))
        return [self._trace.Link(span.get_span_context())]

    def _context(self, traceparent: str) -> Context:
        return self._propagator.extract({_HEADER: traceparent}, self._nowhere)

    def _name(self, span: Span) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span, self._nowhere))
        return carrier.get(_HEADER)

    def _end(self, spans: list[Span], error: BaseException | None) -> None:
        for span in spans:
            with self._harmlessly():
                if error is not None:
                    self._mark(span, type(error).__name__, str(error))
                span.end()

    @contextmanager
    def _harmlessly(self) -> Iterator[None]:
        # What the program has set may be of anybody's making, and its orders are worth more than its spans. Where
        # two threads meet with it at once, it is logged twice.
        try:
            yield
        except Exception as error:
            self._log.log_seldom(logging.WARNING, "a span was not told: %s", describe(error))

    def _mark(self, span: Span, kind: str, text: str | None) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR, text)


def _attributes(operation: str, about: dict[str, Any]) -> dict[str, Any]:
    return {**_OF_ORDERS, "messaging.operation.name": operation, "messaging.operation.type": operation, **about}


def _message(order: Order, count: int) -> dict[str, Any]:
    return {"messaging.message.id": order.order_id} if count == 1 else {"messaging.batch.message_count": count}


def _error_of(reply: Reply[Any]) -> BaseException | None:
    try:
        reply.get()
    except BaseException as error:  # it belongs to whoever waits for the reply
        return error
    return None
