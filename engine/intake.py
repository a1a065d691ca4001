"""1. Intake: admits orders while there is room in the backlog, and hands them on."""

from __future__ import annotations

from ..store.errors import BacklogFull, EngineStopped
from .actor import EngineActor
from .crew import Crew
from .messages import BacklogRead, BacklogReleased, Close, ReadTotals, SubmitOrders
from .reply import fail


class IntakeActor(EngineActor):
    """Admission. A submission is admitted whole or not at all.

    Args:
        crew: the engine's actors and settings.
        backlog: unfinished orders at the start.
    """

    def __init__(self, crew: Crew, backlog: int) -> None:
        super().__init__(crew)
        self._backlog = backlog
        self._sent = 0
        self._is_open = True

    def rebuild(self) -> None:
        """Ask for the backlog: whether the order that it went wrong with is in it, nobody knows here."""
        self._crew.recorder.tell(ReadTotals())

    def receive(self, message: SubmitOrders | BacklogReleased | BacklogRead | Close) -> None:
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
                    self._sent += len(orders)
            case BacklogReleased(orders):
                self._backlog -= orders
            case BacklogRead(orders, received):
                self._backlog = orders + self._sent - received
            case Close(reply):
                self._is_open = False
                reply.set()
