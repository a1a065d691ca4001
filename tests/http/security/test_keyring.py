"""The keys of a running server follow their file, and a broken file changes nothing but readiness."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordermill.http.security.api_keys import KeysUnusable, Role, create_key, id_of, revoke_key
from ordermill.http.security.keyring import Keyring


class Seconds:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    """Seconds that pass when the test says so."""
    return Seconds()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's keys go."""
    return tmp_path / "keys"


def test_a_key_is_found_and_nothing_like_it(path: Path) -> None:
    key = create_key(path, [Role.READ])
    other = create_key(path, [Role.READ])
    keyring = Keyring(path)

    found = keyring.find(key)

    assert found is not None
    assert found.id == id_of(key)
    lookalikes = [key[:-1], key + "0", key.upper(), key[:-1] + ("0" if key[-1] != "0" else "1"), " " + key]
    lookalikes += [f"om_{id_of(key)}_{other.rpartition('_')[2]}", f"om_{id_of(key)}_", f"om_{id_of(key)}"]
    lookalikes += [found.sha256, f"om_{id_of(key)}_{found.sha256}", "", "om__", "\udcff", "ü"]
    assert [keyring.find(lookalike) for lookalike in lookalikes] == [None] * len(lookalikes)


def test_a_new_key_and_a_revoked_one_are_noticed_within_a_second(path: Path, seconds: Seconds) -> None:
    first = create_key(path, [Role.READ])
    keyring = Keyring(path, seconds)
    second = create_key(path, [Role.READ])
    revoke_key(path, id_of(first))

    seconds.now = 0.9
    assert keyring.find(first) is not None
    assert keyring.find(second) is None
    seconds.now = 1.0
    assert keyring.find(first) is None
    assert keyring.find(second) is not None


def test_a_broken_file_keeps_the_keys_of_before_and_says_so(
    path: Path, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    key = create_key(path, [Role.READ])
    good = path.read_bytes()
    keyring = Keyring(path, seconds)
    assert keyring.trouble() == ()

    path.write_bytes(good + b"nonsense\n")
    seconds.now = 1.0

    assert keyring.trouble() == (
        "the file of the keys cannot be read again, what was read before holds: the log says why",
    )
    assert keyring.find(key) is not None
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("the file of the keys cannot be read again, what was read before holds: Line 2 of ")
    assert "nonsense" not in line

    path.write_bytes(good)
    seconds.now = 2.0
    assert keyring.trouble() == ()


def test_a_file_that_went_away_keeps_the_keys_of_before(path: Path, seconds: Seconds) -> None:
    key = create_key(path, [Role.READ])
    keyring = Keyring(path, seconds)

    path.unlink()
    seconds.now = 1.0

    assert keyring.find(key) is not None
    assert len(keyring.trouble()) == 1


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_a_server_does_not_begin_with_a_file_that_is_none(path: Path, content: str | None) -> None:
    if content is not None:
        path.write_text(content)

    with pytest.raises(KeysUnusable):
        Keyring(path)
