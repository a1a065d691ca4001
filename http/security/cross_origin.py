"""Cross-origin protection: what pages of other sites must not have a browser do.

A browser sends requests to any address, this machine's own among them, for whatever page is open in it. A server that
asks for a key is safe, since a page has to know the key. One that asks for none, or takes a cookie that the browser
sends by itself, has to look where a request comes from.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from ..wire.errors import CrossOriginRefused, MisdirectedRequest
from .cors import Cors

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]*)?")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_FETCHES = frozenset({"same-origin", "none"})


class CrossOriginProtection:
    """Refuses what other sites have browsers send.

    Which requests they are is found out as by Go's `net/http.CrossOriginProtection`: by `Sec-Fetch-Site` (W3C Fetch
    Metadata), or where a browser is too old for that, by `Origin` and `Host`. A request with neither comes from no
    browser.

    Args:
        cors: the origins that may call all the same.
        only_loopback: whether the server answers to names of this machine only. The name of another one has been made
            to lead here (DNS rebinding): the browser takes that site's pages for ours, and lets them read all.
        name: by which it is called besides those.
    """

    def __init__(self, cors: Cors, *, only_loopback: bool = False, name: str = "") -> None:
        self._cors = cors
        self._only_loopback = only_loopback
        self._name = name.lower()

    def check(self, method: str, fields: Mapping[str, str]) -> None:
        """Refuse a request of another site.

        Args:
            method: of the request.
            fields: its header.

        Raises:
            MisdirectedRequest: it is for a host that this server is not.
            CrossOriginRefused: a page of another origin would change something.
        """
        host = fields.get("Host")
        if self._only_loopback and host is not None and not (is_of_this_machine(host) or self._has_name(host)):
            raise MisdirectedRequest
        if method in _SAFE_METHODS:
            return
        origin = fields.get("Origin")
        site = fields.get("Sec-Fetch-Site")
        if origin is None and site is None:
            return
        if origin is not None and self._cors.allows(origin):
            return
        is_own = origin.partition("://")[2] == host if site is None and origin is not None else site in _OWN_FETCHES
        if not is_own:
            raise CrossOriginRefused

    def _has_name(self, host: str) -> bool:
        return bool(self._name) and _name_of(host) == self._name


@lru_cache(maxsize=64)  # nearly all requests have the same one
def is_of_this_machine(host: str) -> bool:
    """Whether a host, with or without a port, can be nothing but the loopback address.

    RFC 6761 keeps `localhost`, and all names below it, for that.
    """
    name = _name_of(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    match = _HOST.fullmatch(host)
    return match[1].strip("[]").lower().removesuffix(".") if match else ""
