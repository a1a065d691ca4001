"""Protection: what stands between a server and its callers, put together from its settings."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...store.domain.errors import InvalidConfiguration
from .access import Authenticator
from .cors import Cors
from .keyring import Keyring
from .rate_limit import UserRateLimiter

if TYPE_CHECKING:
    from ..config import ServerConfig


class Protection(NamedTuple):
    """What stands between a server and its callers: nothing, unless it is set."""

    authenticator: Authenticator = Authenticator(None)
    cors: Cors = Cors(None)
    user_rate: UserRateLimiter = UserRateLimiter(None)


UNPROTECTED = Protection()


def protect(config: ServerConfig) -> Protection:
    """What the settings ask for.

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
    if config.user_burst is not None and config.user_rate is None:
        raise InvalidConfiguration("--user-burst limits nothing without --user-rate: set that too.")
    if config.user_rate is not None and config.http_processes > 1:
        raise InvalidConfiguration("--user-rate is counted by one process: leave out --http-processes, or the rate.")
    return Protection(
        Authenticator(None if config.keys_file is None else Keyring(Path(config.keys_file))),
        Cors(config.cors_origins),
        UserRateLimiter(config.user_rate, config.user_burst),
    )


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
