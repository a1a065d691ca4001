"""From any error to what a client gets for it."""

from __future__ import annotations

from collections.abc import Mapping

from ..wire.errors import HttpError
from ..wire.problem_details import UNEXPECTED, ProblemAnswer, ProblemKind, answer_for_http_error, answer_for_kind

ProblemKinds = Mapping[type[Exception], ProblemKind]
"""What each error of an application is over HTTP."""


def answer_for(error: Exception, kinds: ProblemKinds) -> ProblemAnswer:
    """What a client gets for an error. One that is of no known kind is our fault: 500, and no word about its inside.

    Args:
        error: it.
        kinds: those of the application's own errors; HTTP's are known.
    """
    kind = kinds.get(type(error))
    if kind is not None:
        return answer_for_kind(error, kind)
    if isinstance(error, HttpError):
        return answer_for_http_error(error)
    return UNEXPECTED
