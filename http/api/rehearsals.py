"""The call that rehearses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ...engine import Engine, Rehearsal, RehearsalFailed, Reply
from ...engine.reply import fail
from ..framework.deferred import Deferred
from ..framework.parameters import NoParameters
from ..framework.request import Request
from ..framework.request_headers import RequestHeaders
from ..framework.response import Response
from .rehearsal_requests import RehearsalRequest
from .rehearsal_responses import rehearsal_payload
from .responses import encode

Rehearsing: TypeAlias = Request[NoParameters, RequestHeaders, RehearsalRequest]


class RehearsalCalls:
    """What is likely to become of the backlog.

    Args:
        engine: running.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rehearse(self, request: Rehearsing) -> Deferred[Response]:
        """Tell what is likely to become of the backlog."""
        return when_rehearsed(self._engine.begin_rehearsal(request.body.scenario()), rehearsal_payload)


def when_rehearsed(told: Reply[Rehearsal], payload: Callable[[Rehearsal], msgspec.Struct]) -> Deferred[Response]:
    """The answer with what came of a rehearsal, which is ended where its client has gone.

    Args:
        told: of the rehearsal.
        payload: makes of it what clients see.
    """
    return Deferred(
        told,
        lambda: Response(encode(payload(told.get()))),
        lambda: fail(told, RehearsalFailed("whoever asked waits for it no longer")),
    )
