"""Key files: what they may say, and that no key of theirs is ever shown."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gamearchive.errors import ConfigurationError
from gamearchive.keyring import Key, Keyring, load_keyring

FIRST, SECOND = base64.b64encode(b"1" * 32).decode(), base64.b64encode(b"2" * 32).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ring.key"
    path.touch(mode=0o600)
    return path


def test_the_first_key_encrypts_and_all_decrypt(file: Path) -> None:
    file.write_text(f"# of this year\n{SECOND}  # made in May\n\n{FIRST}\n")
    ring = load_keyring(file)
    assert ring.present is not None
    assert ring.present.id == Key(b"2" * 32).id
    assert set(ring.keys) == {Key(b"1" * 32).id, Key(b"2" * 32).id}
    assert not ring.reads_unencrypted


def test_the_word_unencrypted_stands_for_a_key(file: Path) -> None:
    file.write_text(f"{FIRST}\nunencrypted\n")
    ring = load_keyring(file)
    assert (ring.present is not None, ring.reads_unencrypted, len(ring.keys)) == (True, True, 1)
    file.write_text(f"unencrypted\n{FIRST}\n")
    ring = load_keyring(file)
    assert (ring.present, ring.reads_unencrypted, len(ring.keys)) == (None, True, 1)


def test_without_a_file_nothing_is_encrypted() -> None:
    ring = load_keyring(None)
    assert (ring.present, ring.reads_unencrypted, dict(ring.keys)) == (None, True, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key in"),
        ("# nothing\n\n", "no key in"),
        (f"{FIRST}\n{FIRST[:-4]}", "Line 2 of"),
        ("secret-passphrase", "Line 1 of"),
        (f"{FIRST}é", "Line 1 of"),
        (base64.b64encode(b"short").decode(), "Line 1 of"),
        ("A" * 70_000, "too large"),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_keyring(file)
    told = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert "secret-passphrase" not in told
    assert FIRST[:20] not in told


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o400, True), (0o440, True), (0o644, False), (0o620, False)])
def test_a_file_that_is_open_to_others_is_refused(file: Path, mode: int, good: bool) -> None:
    file.write_text(FIRST)
    file.chmod(mode)
    if good:
        assert load_keyring(file).present
        return
    with pytest.raises(ConfigurationError, match=f"{mode:03o}") as caught:
        load_keyring(file)
    assert caught.value.hint == f"Take them away: chmod 600 {file}"


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    for path in (tmp_path / "nowhere.key", tmp_path / "plain" / "ring.key"):
        with pytest.raises(ConfigurationError, match="There is no key file") as caught:
            load_keyring(path)
        assert "openssl rand -base64 32" in caught.value.hint
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="no file"):
        load_keyring(tmp_path)


def test_nothing_shows_a_key() -> None:
    secret = b"a secret that nobody is to see.."
    ring = Keyring((Key(secret),), Path("ring.key"))
    shown = f"{ring!r} {ring.present!r} {ring.keys!r} {ring.missing('it', b'12345678')!r} {vars(ring)!r} {vars(Key(secret))!r}"
    assert "secret" not in shown
    assert secret.hex() not in shown


def test_without_the_package_it_is_said_what_to_install(file: Path) -> None:
    file.write_text(FIRST)
    code = (
        "import importlib.util, sys\nfrom pathlib import Path\n"
        "import gamearchive.keyring as keyring\nkeyring.find_spec = lambda name: None\n"
        "try:\n    keyring.load_keyring(Path(sys.argv[1]))\n"
        "except keyring.ConfigurationError as error:\n    print(error.hint)\n"
        "assert 'cryptography' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert "pip install 'gamearchive[encryption]'" in ended.stdout
