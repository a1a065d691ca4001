"""What a server asks for before it listens where others reach it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import InvalidConfiguration
from ordermill.http.cli import main
from ordermill.http.config import ServerConfig
from ordermill.http.security.api_keys import KeysUnusable, Role, create_key
from ordermill.http.security.protection import protect, sends_keys_in_the_clear

OPEN = ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "no-such-host.invalid"]


@pytest.mark.parametrize("host", OPEN)
def test_an_address_that_others_reach_needs_keys(host: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"make keys with `ordermill keys create`.*or say --allow-anonymous"):
        protect(ServerConfig(host=host))

    create_key(tmp_path / "keys", [Role.READ])
    protect(ServerConfig(host=host, keys_file=str(tmp_path / "keys")))
    protect(ServerConfig(host=host, allow_anonymous=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_loopback_address_needs_none(host: str) -> None:
    protect(ServerConfig(host=host))


def test_keys_and_none_exclude_each_other(tmp_path: Path) -> None:
    create_key(tmp_path / "keys", [Role.READ])

    with pytest.raises(InvalidConfiguration, match="exclude each other"):
        protect(ServerConfig(keys_file=str(tmp_path / "keys"), allow_anonymous=True))


@pytest.mark.parametrize("settings", [{}, {"host": "0.0.0.0", "allow_anonymous": True}])
@pytest.mark.parametrize("origins", ["*", "https://shop.example, *"])
def test_all_origins_may_not_call_where_no_key_is_needed(
    settings: dict[str, Any], origins: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidConfiguration, match="lets any page that is open in a browser"):
        protect(ServerConfig(cors_origins=origins, **settings))

    create_key(tmp_path / "keys", [Role.READ])
    protect(ServerConfig(cors_origins=origins, keys_file=str(tmp_path / "keys")))


def test_a_burst_without_a_rate_is_a_mistake() -> None:
    with pytest.raises(InvalidConfiguration, match="--user-burst limits nothing"):
        protect(ServerConfig(user_burst=5))


def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match="There is no file"):
        protect(ServerConfig(keys_file=str(tmp_path / "keys")))


@pytest.mark.parametrize(
    ("settings", "is_exposed"),
    [
        ({"host": "0.0.0.0", "keys_file": "keys"}, True),
        ({"host": "", "keys_file": "keys"}, True),
        ({"host": "0.0.0.0", "keys_file": "keys", "tls_cert": "a", "tls_key": "b"}, False),
        ({"keys_file": "keys"}, False),
        ({"host": "0.0.0.0", "allow_anonymous": True}, False),
    ],
)
def test_keys_over_plain_http_to_an_address_that_others_reach_are_in_the_clear(
    settings: dict[str, Any], is_exposed: bool
) -> None:
    assert sends_keys_in_the_clear(ServerConfig(**settings)) == is_exposed


def test_a_server_that_gets_keys_in_the_clear_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served: list[object] = []
    monkeypatch.setattr(main, "serve", lambda *given: served.append(given))
    monkeypatch.setattr(main.logs, "configure", lambda *_: None)

    keys = tmp_path / "keys"
    create_key(keys, [Role.OPERATE])

    arguments = ["serve", "--db", str(tmp_path / "orders.db"), "--host", "0.0.0.0", "--keys-file", str(keys)]
    monkeypatch.setattr(sys, "argv", ["ordermill", *arguments])
    with pytest.raises(SystemExit, match="0"):
        main.main()

    assert len(served) == 1
    assert "keys come to 0.0.0.0 over plain HTTP" in caplog.text
