"""The gateway between the server and the facade: WSGI, for an application that keeps its rules."""

from __future__ import annotations

from typing import Any

import cheroot.wsgi

from .call import ASK_AGAIN, FORGET, JSON

_ALWAYS_THE_SAME = {
    (name, value): (name.encode(), value.encode()) for name, value in (*FORGET, *ASK_AGAIN, ("Content-Type", JSON))
}


class Gateway(cheroot.wsgi.Gateway_10):
    """Cheroot's own checks and encodes each header anew, which costs as much as finding the route."""

    def start_response(self, status: str, headers: Any, exc_info: object = None) -> Any:
        """As PEP 3333 has it."""
        del exc_info
        self.started_response = True
        self.req.status = status.encode()
        self.req.outheaders = [
            _ALWAYS_THE_SAME.get(header) or (header[0].encode("latin-1"), header[1].encode("latin-1"))
            for header in headers
        ]
        return self.write
