"""1. Intake: admits orders while there is room in the backlog, and hands them on."""

from __future__ import annotations

from ..store.errors import BacklogFull, EngineStopped
from .actor import EngineActor, fail
from .crew import Crew
from .messages import BacklogReleased, Close, SubmitOrders


class IntakeActor(EngineActor):
    """Admission. A submission is admitted whole or not at all.

    Args:
        crew: the engine's actors and settings.
        backlog: unfinished orders at the start.
    """

    def __init__(self, crew: Crew, backlog: int) -> None:
        super().__init__(crew)
        self._backlog = backlog
        self._is_open = True

    def receive(self, message: SubmitOrders | BacklogReleased | Close) -> None:
        """Admit what fits, refuse what does not."""
        match message:
            case SubmitOrders(orders, reply):
                limit = self._crew.config.max_backlog
                if not self._is_open:
                    fail(reply, EngineStopped())
                elif self._backlog + len(orders) > limit:
                    fail(reply, BacklogFull(self._backlog, len(orders), limit))
                else:
                    self._backlog += len(orders)
                    self._crew.recorder.tell(message)
            case BacklogReleased(orders):
                self._backlog -= orders
            case Close(reply):
                self._is_open = False
                reply.set()
