"""Overview: how all is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Engine, OrderStatus
from .section import Section, go_to
from .sign_in import SignIn

_FEW = 8
_MOST_PROCESSORS = 32


class Overview(Section):
    """How all is, and what moves on that page.

    Args:
        engine: what is shown.
        sign_in: tells who looks.
        warnings: asked what an operator should mend at the server.
    """

    def __init__(self, engine: Engine, sign_in: SignIn, warnings: Callable[[], tuple[str, ...]]) -> None:
        super().__init__(engine, sign_in)
        self._warnings = warnings

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self) -> bytes:
        """The page."""
        visitor = self.visitor()
        if not visitor.sees_all:
            go_to("/orders/")
        return self.page("overview.html", visitor, **self._values())

    def _values(self) -> dict[str, object]:
        waiting_since = self.engine.oldest()[OrderStatus.PENDING]
        # Whoever has been at an order for longest, or cannot work, comes before those that are idle.
        processors = sorted(
            self.engine.processors(), key=lambda one: (one.order_id is None, one.trouble is None, one.since_us)
        )
        return {
            "waiting_seconds": None if waiting_since is None else _seconds_since(waiting_since),
            "processors": processors[:_MOST_PROCESSORS],
            "more_processors": len(processors) - _MOST_PROCESSORS,
            "metrics": self.engine.metrics(),
            "control": self.engine.control(),
            "unready": self.engine.unready_reasons(),
            "warnings": (*self.engine.warnings(), *self._warnings()),
            "failures": self.engine.failures(limit=_FEW),
            "review": self.engine.orders(status=OrderStatus.REVIEW, limit=_FEW),
        }


def _seconds_since(time: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - time).total_seconds())
