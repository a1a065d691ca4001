"""Trace carrier: the trace that an attempt is part of, on its way to the process in which the handler runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

Carrier = Mapping[str, str]
"""A trace context, as the headers of W3C Trace Context have it; empty where nothing is traced."""

_PACKAGE = "opentelemetry"


def carry_trace() -> Carrier:
    """The current trace of this thread."""
    if _PACKAGE not in sys.modules:  # nobody has begun a span
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


@contextmanager
def trace_of(carrier: Carrier) -> Iterator[None]:
    """Make that trace the current one of this thread meanwhile, where OpenTelemetry is installed here as well."""
    if not carrier or find_spec(_PACKAGE) is None:
        yield
        return
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    token = context.attach(TraceContextTextMapPropagator().extract(carrier))
    try:
        yield
    finally:
        context.detach(token)
