"""Asking for the health of the process."""

from __future__ import annotations

from http import HTTPStatus

from ...framework.request import NOTHING
from ...framework.route import Operation, Result, Tag
from ..health import HealthPayload
from .common import in_json, ok

LIVE, READY = (
    Operation(
        name,
        Tag.OBSERVERS,
        NOTHING,
        results=(
            ok("All is well.", HealthPayload, HealthPayload("ok", ())),
            Result(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Something is wrong; the answer says what.",
                in_json(HealthPayload, HealthPayload("unavailable", (reason,))),
            ),
        ),
    )
    for name, reason in (("readLiveness", "the pool actor has died"), ("readReadiness", "the engine is not running"))
)
