"""A port that several processes share."""

from __future__ import annotations

import socket


def reserve_port(host: str, port: int) -> socket.socket:
    """Take a port that several processes are to share.

    Args:
        host: the address.
        port: 0 for a free one.

    Returns:
        A socket that holds the port, and takes no connections.

    Raises:
        OSError: it is not to be had: another program listens on it, even if it would share it.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        alone.listen(1)  # connections of an earlier program that are being closed keep nobody out, a listener does
        address = alone.getsockname()
    holder = socket.socket(family, kind, protocol)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(address)
    return holder
