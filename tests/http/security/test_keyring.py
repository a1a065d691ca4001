"""The keys of a running server follow their file, and a broken file changes nothing but readiness."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordermill.http.security.api_keys import KeysUnusable, Role, create_key, id_of, revoke_key
from ordermill.http.security.keyring import GRACE_SECONDS, Keyring
from ordermill.http.wire.errors import KeysUnreadable


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


def test_after_a_while_without_its_file_nobody_is_let_in(path: Path, seconds: Seconds) -> None:
    key = create_key(path, [Role.READ])
    good = path.read_bytes()
    keyring = Keyring(path, seconds)
    path.write_bytes(good + b"nonsense\n")
    seconds.now = 1.0
    assert keyring.find(key) is not None
    seconds.now = GRACE_SECONDS + 0.9
    assert keyring.find(key) is not None

    seconds.now = GRACE_SECONDS + 1.0
    for sent in (key, "om_000000000000_00"):
        with pytest.raises(KeysUnreadable):
            keyring.find(sent)
    assert keyring.trouble() == (
        "the file of the keys has been unreadable for 60 s, no key is taken: the log says why",
    )

    path.write_bytes(good)
    seconds.now += 1.0
    assert keyring.find(key) is not None
    assert keyring.trouble() == ()


def test_a_file_that_cannot_be_read_is_tried_again_though_it_has_not_changed(
    path: Path, seconds: Seconds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = create_key(path, [Role.READ])
    keyring = Keyring(path, seconds)
    second = create_key(path, [Role.READ])
    revoke_key(path, id_of(first))
    with monkeypatch.context() as broken:
        broken.setattr(keyring._entries, "_read", fail)
        for seconds.now in (1.0, 2.0, 3.0):
            assert keyring.find(first) is not None
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1

    seconds.now = 4.0

    assert keyring.find(first) is None
    assert keyring.find(second) is not None


def fail() -> None:
    """There is no descriptor to be had, say."""
    raise KeysUnusable("too many open files")


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_a_file_that_everybody_may_write_is_refused(path: Path, seconds: Seconds, mode: int) -> None:
    key = create_key(path, [Role.READ])
    keyring = Keyring(path, seconds)
    path.chmod(mode)

    for change in (lambda: Keyring(path), lambda: create_key(path, [Role.READ]), lambda: revoke_key(path, id_of(key))):
        with pytest.raises(KeysUnusable, match="Everybody on this machine may write keys into"):
            change()
    seconds.now = 1.0
    assert len(keyring.trouble()) == 1


def test_a_key_that_is_revoked_through_a_link_is_revoked(path: Path, seconds: Seconds) -> None:
    key = create_key(path, [Role.READ])
    link = path.with_name("link")
    link.symlink_to(path)
    direct, through_link = Keyring(path, seconds), Keyring(link, seconds)

    revoke_key(link, id_of(key))

    assert link.is_symlink()
    seconds.now = 1.0
    assert direct.find(key) is through_link.find(key) is None


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
