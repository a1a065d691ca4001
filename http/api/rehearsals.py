"""The call that rehearses."""

from __future__ import annotations

from typing import TypeAlias

from ...engine import Engine, RehearsalFailed
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

UNHEARD = "whoever asked waits for it no longer"
"""Why a rehearsal is ended when its client has gone."""


class RehearsalCalls:
    """What is likely to become of the backlog.

    Args:
        engine: running.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rehearse(self, request: Rehearsing) -> Deferred[Response]:
        """Tell what is likely to become of the backlog."""
        told = self._engine.begin_rehearsal(request.body.scenario())
        return Deferred(
            told,
            lambda: Response(encode(rehearsal_payload(told.get()))),
            lambda: fail(told, RehearsalFailed(UNHEARD)),
        )
