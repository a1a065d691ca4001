"""A running server, as the commands talk to it."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from ...engine import InvalidConfiguration, OrdermillError
from ..security.cross_origin import is_of_this_machine
from ..wire.headers import JSON
from .console import err

_PAGE = 1_000
_TIMEOUT_SECONDS = 60


class ServerRefused(OrdermillError):
    """The server cannot be reached, or does not do what was asked; the message has its reason."""


class Server(NamedTuple):
    """A running server. Every call raises ServerRefused where it is not answered as it should."""

    url: str
    """Its address."""
    key: str | None = None
    """The key to send along, if it needs one."""
    ca: Path | None = None
    """File of certificates to trust besides those of the system, as PEM."""

    def get(self, *path: str, **parameters: str | int | None) -> Any:
        """What there is at a path.

        Args:
            path: its parts, without slashes.
            parameters: of the query; those that are None are left out.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._call("GET", path, None, JSON, f"?{urlencode(given)}" if given else "")

    def readiness(self) -> Any:
        """Whether orders are taken, and what else there is to be known; as `/readyz` tells it."""
        return self._call("GET", ("readyz",), None, JSON, answers=HTTPStatus.SERVICE_UNAVAILABLE)

    def post(self, *path: str, body: bytes = b"", media_type: str = JSON) -> Any:
        """Have something done.

        Args:
            path: its parts, without slashes.
            body: what to send.
            media_type: of the body.
        """
        return self._call("POST", path, body, media_type)

    def patch(self, *path: str, body: bytes) -> Any:
        """Have something changed.

        Args:
            path: its parts, without slashes.
            body: what, as JSON.
        """
        return self._call("PATCH", path, body, JSON)

    def delete(self, *path: str) -> Any:
        """Have something removed.

        Args:
            path: its parts, without slashes.
        """
        return self._call("DELETE", path, None, JSON)

    def put(self, *path: str, body: bytes) -> Any:
        """Have something set.

        Args:
            path: its parts, without slashes.
            body: what to, as JSON.
        """
        return self._call("PUT", path, body, JSON)

    def pages(self, *path: str, name: str, limit: int, **parameters: str | int | None) -> list[Any]:
        """What a list has, page by page.

        Args:
            path: of the list: its parts, without slashes.
            name: of the field that has what is on a page.
            limit: how many at the most.
            parameters: of the query; those that are None are left out.
        """
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = self.get(*path, **parameters, limit=min(_PAGE, limit - len(found)), cursor=cursor)
            found += page[name]
            cursor = page["next_cursor"]
            if cursor is None or len(found) == limit:
                return found

    def trust(self) -> ssl.SSLContext:
        """The certificates that are trusted.

        Raises:
            InvalidConfiguration: the file of `ca` cannot be read, or holds none.
        """
        context = ssl.create_default_context()
        if self.ca is not None:
            try:
                context.load_verify_locations(self.ca)
            except (OSError, ssl.SSLError) as error:
                what = f"--ca must be a file of certificates as PEM, not {self.ca}"
                raise InvalidConfiguration(f"{what}: {error}.") from error
        return context

    def check_address(self) -> None:
        """Refuse what is not an address, and warn where the key can be read on its way, before anything is sent.

        Raises:
            ServerRefused: it is not an address.
        """
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.path in {"", "/"}
            _ = parts.port  # raises where it is out of range
        except ValueError:
            is_address = False
        if not is_address:
            raise ServerRefused(f"{self.url!r} is not the address of a server: write it like http://127.0.0.1:8080.")
        if self.key is not None and parts.scheme == "http" and not is_of_this_machine(parts.netloc.rpartition("@")[2]):
            _warn_of_plain_http(self.url)

    def unreachable(self, error: BaseException) -> ServerRefused:
        """The error for a call that was not answered.

        Args:
            error: what happened instead.
        """
        while (cause := _cause(error)) is not None:
            error = cause
        if isinstance(error, ssl.SSLCertVerificationError):
            what = f"TLS: its certificate is not trusted ({error.verify_message})"
            return ServerRefused(f"Cannot reach {self.url}: {what}. Name the authority that signed it with --ca FILE.")
        if isinstance(error, ssl.SSLError):
            what = f"TLS: {error.reason or error}"
            return ServerRefused(
                f"Cannot reach {self.url}: {what}. Does it serve TLS at all, or should it be http://…?"
            )
        what = f"Cannot reach {self.url}: {error}. Is it running? Start it with `ordermill serve`."
        is_cut = not isinstance(error, (ConnectionRefusedError, socket.gaierror))
        if is_cut and self.url.startswith("http:"):
            what += " Where it speaks TLS, write https:// in place of http://."
        return ServerRefused(what)

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        body: bytes | None,
        media_type: str,
        query: str = "",
        answers: HTTPStatus | None = None,
    ) -> Any:
        self.check_address()
        address = "/".join((self.url.rstrip("/"), *(quote(part, safe="") for part in path))) + query
        headers = {"Content-Type": media_type, "Accept": JSON, **authorization(self.key)}
        request = urllib.request.Request(address, body, headers, method=method)
        try:
            opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=self.trust()))
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return msgspec.json.decode(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                content = error.read()
            if error.code == answers and (answer := _reasons(content)) is not None:
                return answer
            said = _detail(content) or f"{self.url} answers {error.code} {error.reason}."
            if location := error.headers.get("Location"):
                said = f"{self.url} sends on to {location}, where nothing is sent: name that with --url if it is right."
            raise ServerRefused(said) from None
        except msgspec.DecodeError as error:
            raise ServerRefused(f"{self.url} does not answer as an Ordermill server does: {error}.") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.unreachable(error) from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: the key and the orders are for the server that was named, and no server of ours sends on."""

    def redirect_request(self, *_: object) -> None:
        """Give up, which is an error for the caller."""


@cache
def _warn_of_plain_http(url: str) -> None:
    # Once: a command may send many requests.
    text = f"ordermill: {url} is not https: whoever is on the way there can read the key and use it."
    err.print(text, style="yellow", highlight=False, soft_wrap=True)


def authorization(key: str | None) -> dict[str, str]:
    """The header that a key is sent in; none without one."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _cause(error: BaseException) -> BaseException | None:
    # urllib and aiohttp wrap what happened, each in its own way.
    wrapped = (getattr(error, name, None) for name in ("reason", "certificate_error", "os_error"))
    return next((inner for inner in wrapped if isinstance(inner, BaseException)), None)


def _reasons(body: bytes) -> Any:
    """What a server says that is not ready; None where it is not one of ours that says so."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return answer if isinstance(answer, dict) and "reasons" in answer else None


def _detail(body: bytes) -> str | None:
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return problem.get("detail") if isinstance(problem, dict) else None
