"""PageRequest: a request as CherryPy hands it to the pages."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import parse_qsl, quote

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cherrypy._cprequest import Request  # type: ignore[import-untyped]  # likewise

from ..wire import request_id
from ..wire.errors import ContentTooLarge, InvalidParameter, MalformedRequest, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"

_access_log = logging.getLogger("ordermill.http.access")

_MAX_FIELDS = 100
_UNREAD = ("Accept-Charset", "Content-Disposition", "Content-Type", "Cookie")


class PageRequest(Request):  # type: ignore[misc]  # likewise
    """Keeps from CherryPy what its readers are not safe for.

    Those of media types take seconds for a header of some kilobytes, and so does Python's own for cookies before
    3.11.10 and 3.12.6 (CVE-2024-7592). Those of bodies raise whatever comes where a body is not what its type says.
    With `request.process_request_body` off, a form is read here.
    """

    header_list: list[tuple[str, str]]

    def run(self, *given: Any) -> Any:
        """Answer it, and log that as all requests are."""
        began = time.perf_counter()
        response = super().run(*given)
        if _access_log.isEnabledFor(logging.INFO):
            status = int(response.output_status[:3])
            milliseconds = round((time.perf_counter() - began) * 1000, 1)
            about = {
                "request_id": response.headers.get(request_id.HEADER, ""),
                "status": status,
                "milliseconds": milliseconds,
            }
            # Without the query, and quoted: see the log of other requests.
            line = f"{self.method} {quote(f'{self.script_name}{self.path_info}')}"
            _access_log.info("%s %d %.1f ms", line, status, milliseconds, extra=about)
        return response

    def process_headers(self) -> None:
        """Make a mapping of the header, with the cookies as they were sent, and have the answer name the request."""
        header = {name.title(): value for name, value in self.header_list}
        answer = cherrypy.serving.response.headers
        answer[request_id.HEADER] = request_id.request_id_of(header)
        self.header_list = [(name, value) for name, value in header.items() if name not in _UNREAD]
        super().process_headers()
        self.headers["Cookie"] = header.get("Cookie", "")
        self._media_type = header.get("Content-Type", "").partition(";")[0].strip().lower()

    def form(self, max_bytes: int) -> dict[str, str]:
        """The fields of the form that was sent; none where nothing was.

        Args:
            max_bytes: of the whole.

        Raises:
            UnsupportedMediaType: what was sent is not a form.
            ContentTooLarge: it is too large.
            MalformedRequest: it cannot be read.
            InvalidParameter: a field is given more than once.
        """
        content = self.rfile.read(max_bytes + 1)
        if not content:
            return {}
        if self._media_type != FORM:
            raise UnsupportedMediaType(f"Send the form with Content-Type: {FORM}.")
        if len(content) > max_bytes:
            raise ContentTooLarge(f"The form has more than {max_bytes} bytes.")
        try:
            pairs = parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
        except ValueError:
            raise MalformedRequest("The form cannot be read: it is not UTF-8, or has too many fields.") from None
        fields: dict[str, str] = {}
        for name, value in pairs:
            if name in fields:
                raise InvalidParameter(name, "is given more than once")
            fields[name] = value
        return fields
