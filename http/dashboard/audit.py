"""Audit: what people have done to the engine and its orders."""

from __future__ import annotations

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from .section import PAGE, Section, page_end


class Audit(Section):
    """The audit log."""

    path = "audit/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, **given: str) -> bytes:
        """Its entries, newest first."""
        visitor = self.overseer()
        before = page_end(given)
        found = self.engine.audit(before=before, limit=PAGE + 1)
        older = found[PAGE - 1].id if len(found) > PAGE else None
        return self.page("audit.html", visitor, entries=found[:PAGE], older=older, before=before)
