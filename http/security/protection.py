"""Protection: what stands between a server and its callers, put together from its settings."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...store.domain.errors import InvalidConfiguration
from .access import Authenticator
from .cors import Cors
from .cross_origin import CrossOriginProtection
from .keyring import Keyring
from .rate_limit import UserRateLimiter
from .sessions import Sessions

if TYPE_CHECKING:
    from ..config import ServerConfig


class Protection(NamedTuple):
    """What stands between a server and its callers: little, unless it is set."""

    authenticator: Authenticator = Authenticator(None)
    cors: Cors = Cors(None)
    user_rate: UserRateLimiter = UserRateLimiter(None)
    cross_origin: CrossOriginProtection = CrossOriginProtection(Cors(None))
    """For calls of the API, which other origins may be allowed to make."""
    page_origin: CrossOriginProtection = CrossOriginProtection(Cors(None))
    """For the server's own pages, whose forms come from nowhere else."""
    sessions: Sessions | None = None

    def check_origin(self, method: str, fields: Mapping[str, str]) -> None:
        """Refuse a call of the API that a page of another site has sent, where no key protects from that.

        Args:
            method: of the request.
            fields: its header.

        Raises:
            MisdirectedRequest: it is for a host that this server is not.
            CrossOriginRefused: a page of another site has sent it.
        """
        if not self.authenticator.needs_keys:
            self.cross_origin.check(method, fields)

    def check_page_origin(self, method: str, fields: Mapping[str, str]) -> None:
        """Refuse what a page of another site has sent to a page; raises as `check_origin`.

        With keys as well: the browser sends a session's cookie by itself, and a form to sign in needs no session.

        Args:
            method: of the request.
            fields: its header.
        """
        self.page_origin.check(method, fields)


UNPROTECTED = Protection()


def protect(config: ServerConfig, session_secret: Callable[[], bytes] | None = None) -> Protection:
    """What the settings ask for.

    Args:
        config: the settings.
        session_secret: gives the secret that sessions are signed with; without it nobody can sign in.

    Raises:
        InvalidConfiguration: a setting is wrong, or others than this machine could call without a key.
        KeysUnusable: the file of the keys is not usable.
    """
    if config.keys_file is None and not config.allow_anonymous and not _is_loopback(config.host):
        raise InvalidConfiguration(
            f"Whoever reaches {config.host or 'this machine'} could send and read all orders: make keys with "
            "`ordermill keys create` and name their file with --keys-file, or say --allow-anonymous."
        )
    if config.keys_file is not None and config.allow_anonymous:
        raise InvalidConfiguration("--keys-file and --allow-anonymous exclude each other: leave one of them out.")
    cors = Cors(config.cors_origins)
    if config.keys_file is None and cors.allows("*"):
        raise InvalidConfiguration(
            "--cors-origins '*' lets any page that is open in a browser send and read all orders: name the origins, "
            "or have keys asked for with --keys-file."
        )
    if config.user_burst is not None and config.user_rate is None:
        raise InvalidConfiguration("--user-burst limits nothing without --user-rate: set that too.")
    if config.user_rate is not None and config.http_processes > 1:
        raise InvalidConfiguration("--user-rate is counted by one process: leave out --http-processes, or the rate.")
    keyring = None if config.keys_file is None else Keyring(Path(config.keys_file))
    sessions = None if keyring is None or session_secret is None else Sessions(keyring, session_secret)
    only_loopback = keyring is None and not config.allow_anonymous
    return Protection(
        Authenticator(keyring, sessions),
        cors,
        UserRateLimiter(config.user_rate, config.user_burst),
        CrossOriginProtection(cors, only_loopback=only_loopback, name=config.host),
        CrossOriginProtection(Cors(None), only_loopback=only_loopback, name=config.host),
        sessions,
    )


def sends_keys_in_the_clear(config: ServerConfig) -> bool:
    """Whether keys come over plain HTTP to an address that others reach."""
    return config.keys_file is not None and config.tls_cert is None and not _is_loopback(config.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    if not host:  # all addresses
        return False
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)
