"""The health calls: whether the process lives, and whether it can take orders."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec

from ...engine import Engine
from ..framework.request import PlainRequest
from ..framework.response import Response
from .responses import encode


class HealthPayload(msgspec.Struct, omit_defaults=True):
    """Whether all is well."""

    status: str
    """`ok`, or `unavailable`."""
    reasons: tuple[str, ...]
    """What is wrong; empty where all is well."""
    warnings: tuple[str, ...] = ()
    """What an operator should mend although requests are served; left out where there is nothing."""
    incidents: dict[str, int] = {}
    """Unexpected errors since the start, by actor, which each of them has outlived; left out where there were none."""


class HealthCalls:
    """For load balancers and orchestrators.

    Args:
        engine: the one behind the facade.
        warnings: asked what an operator should mend at the facade.
        reasons: asked why no caller may be let in there.
    """

    def __init__(
        self,
        engine: Engine,
        warnings: Callable[[], tuple[str, ...]] = tuple,
        reasons: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._engine = engine
        self._warnings = warnings
        self._reasons = reasons

    def live(self, _request: PlainRequest) -> Response:
        """200 while the process answers and its actors live; 503 tells an orchestrator to start it anew."""
        return _answer(self._engine, self._engine.dead_actors())

    def ready(self, _request: PlainRequest) -> Response:
        """200 while orders are taken; 503 with the reasons otherwise."""
        reasons = (*self._engine.unready_reasons(), *self._reasons())
        return _answer(self._engine, reasons, (*self._engine.warnings(), *self._warnings()))


def _answer(engine: Engine, reasons: tuple[str, ...], warnings: tuple[str, ...] = ()) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    payload = HealthPayload("unavailable" if reasons else "ok", reasons, warnings, dict(engine.incidents()))
    return Response(encode(payload), status)
