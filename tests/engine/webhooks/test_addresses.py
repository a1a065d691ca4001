"""Only public addresses are sent to, however they are written, and the one that was checked is the one connected to."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ordermill.engine.webhooks.addresses import AddressRefused, CheckedResolver, check_host, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
def test_an_address_of_this_host_or_of_a_network_nearby_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_a_host_that_is_an_address_is_checked_as_it_is_written() -> None:
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1, which is not public"):
        check_host("127.0.0.1", allow_private=False)
    check_host("127.0.0.1", allow_private=True)
    check_host("shop.example", allow_private=False)


async def _resolved(addresses: list[str], *, allow_private: bool) -> list[str]:
    resolver = CheckedResolver(allow_private=allow_private)
    found = [
        {"hostname": "shop.example", "host": address, "port": 443, "family": socket.AF_INET, "proto": 0, "flags": 0}
        for address in addresses
    ]

    async def resolve(*_: object) -> list[dict[str, object]]:
        return found

    resolver._resolver.resolve = resolve  # type: ignore[method-assign]  # instead of the network
    try:
        return [result["host"] for result in await resolver.resolve("shop.example", 443, socket.AF_INET)]
    finally:
        await resolver.close()


def test_of_a_name_the_client_gets_public_addresses_alone() -> None:
    assert asyncio.run(_resolved(["10.0.0.1", "1.1.1.1"], allow_private=False)) == ["1.1.1.1"]
    assert asyncio.run(_resolved(["10.0.0.1"], allow_private=True)) == ["10.0.0.1"]
    with pytest.raises(AddressRefused, match=r"is at 10\.0\.0\.1, which is not public"):
        asyncio.run(_resolved(["10.0.0.1"], allow_private=False))
