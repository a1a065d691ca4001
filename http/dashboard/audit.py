"""Audit: what people have done to the engine and its orders."""

from __future__ import annotations

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from .section import PAGE, Place, Section


class Audit(Section):
    """The audit log."""

    path = "audit/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, after: str = "") -> bytes:
        """Its entries, newest first."""
        visitor = self.overseer()
        place = Place.of(after)
        found = self.engine.audit(before=place.before, limit=PAGE + 1)
        return self.page(
            "audit.html",
            visitor,
            entries=found[:PAGE],
            **place.pager("", found),
        )
