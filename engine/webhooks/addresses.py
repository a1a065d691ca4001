"""Addresses: where webhooks may be sent. Who may name a URL must not reach into the network that the engine is in."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(OSError):
    """A webhook's host is at an address that nothing is sent to."""

    def __init__(self, host: str, address: str) -> None:
        where = f"{host} is at {address}" if host != address else address
        super().__init__(
            errno.EACCES, f"{where}, which is not public: allow_private_webhooks lets events be sent there too"
        )


class CheckedResolver(AbstractResolver):
    """Finds the public addresses of a host. The client connects to one of those that it is given, and to no other.

    Args:
        allow_private: whether any address will do.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            AddressRefused: none of them is public.
            OSError: there are none.
        """
        found = await self._resolver.resolve(host, port, family)
        if self._allow_private:
            return found
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise AddressRefused(host, found[0]["host"])
        return public

    async def close(self) -> None:
        """Nothing is held."""
        await self._resolver.close()


def check_host(host: str, *, allow_private: bool) -> None:
    """Refuse a host that is written as an address which is not public: for these nobody asks the resolver.

    Raises:
        AddressRefused: it is.
    """
    if allow_private:
        return
    try:
        ip_address(host)
    except ValueError:
        return
    if not is_public(host):
        raise AddressRefused(host, host)


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet: not of this host, a private network or a local link.

    An IPv6 address that stands for one of IPv4 is as public as that one.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and (inner := _ipv4_of(ip)) is not None:
        ip = inner
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _ipv4_of(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour
