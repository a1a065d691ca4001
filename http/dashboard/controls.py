"""Controls: pausing the engine, how many processors it has, and its queues."""

from __future__ import annotations

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import QueueChange
from .section import Section, go_to, number

_NOTICES = {
    "pause": "The engine is paused: orders are taken, and none is started.",
    "resume": "Orders are started again.",
    "processors": "The number of processors is changed.",
    "queue": "The queue is set.",
}


class Controls(Section):
    """What operators set."""

    path = "controls/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, done: str = "") -> bytes:
        """The page."""
        visitor = self.overseer()
        return self.page(
            "controls.html",
            visitor,
            control=self.engine.control(),
            metrics=self.engine.metrics(),
            queues=self.engine.queues(),
            engines=self.engine.engines(),
            notice=_NOTICES.get(done),
        )

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def pause(self, token: str = "", minutes: str = "", reason: str = "") -> bytes:
        """Start no orders."""
        cause = self.steering(token)
        seconds = None if not minutes.strip() else 60 * number("minutes", minutes)
        self.engine.begin_pause(seconds, reason.strip() or None, cause).get()
        go_to("/controls/", done="pause")

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def resume(self, token: str = "", reason: str = "") -> bytes:
        """Start orders again."""
        cause = self.steering(token)
        self.engine.begin_resume(reason.strip() or None, cause).get()
        go_to("/controls/", done="resume")

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def processors(self, token: str = "", processors: str = "", reason: str = "") -> bytes:
        """Have so many processors; as many as are configured where the field is empty."""
        cause = self.steering(token)
        wanted = int(number("processors", processors)) if processors.strip() else None
        self.engine.begin_set_processors(wanted, reason.strip() or None, cause).get()
        go_to("/controls/", done="processors")

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def queue(
        self,
        token: str = "",
        queue: str = "",
        paused: str = "",
        concurrency: str = "",
        rate: str = "",
        reason: str = "",
    ) -> bytes:
        """Set a queue; a limit is as configured where its field is empty."""
        cause = self.steering(token)
        change = QueueChange(
            paused == "on",
            int(number("concurrency", concurrency)) if concurrency.strip() else None,
            number("rate", rate) if rate.strip() else None,
        )
        self.engine.begin_set_queue(queue.strip(), change, reason.strip() or None, cause).get()
        go_to("/controls/", done="queue")
