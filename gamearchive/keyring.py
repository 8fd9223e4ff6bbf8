"""The keys that a storage is encrypted with, as a file has them: never shown, only named, each by its id.

A key file is lines of text: each a key, 32 random bytes in base64 as ``openssl rand -base64 32`` prints them; ``#`` begins a
comment. The first key encrypts what is written, and what any of them has encrypted can be read. The word ``unencrypted`` may
stand for a key: then what is not encrypted is read as well, and where it is the first, nothing more is encrypted. Without it,
what is not encrypted counts as damaged: somebody else may have put it there.

A key's id is the first 8 bytes of a BLAKE2b of it. It stands in front of all that the key encrypts, and tells nothing else.

Needs cryptography (``pip install 'gamearchive[encryption]'``).
"""

from __future__ import annotations

import binascii
import os
import stat
from base64 import b64decode
from collections.abc import Mapping
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

from gamearchive.errors import ConfigurationError, NotFoundError, UnavailableError
from gamearchive.files import read_range

KEY_BYTES = 32
ID_BYTES = 8
UNENCRYPTED = "unencrypted"

_MAX_FILE_BYTES = 1 << 16
_FOR_OTHERS = stat.S_IWGRP | stat.S_IRWXO  # a group may be let read it, as services' secrets are
_HOW_TO_MAKE = "Make one with `(umask 077; openssl rand -base64 32 >> FILE)`, and keep a copy where the archive is not."


class MissingKeyError(ConfigurationError):
    """What is to be read is encrypted with a key that is not at hand; nothing is wrong with it."""

    code = "missing-key"
    default_hint = "Put the key into the file that the setting `encryption_key_file` names, below those that are there."


class Key:
    """One key, AES-256-GCM's.

    Args:
        secret: its 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.id = blake2b(secret, digest_size=ID_BYTES, person=b"gamearchive-key").digest()
        self._cipher = AESGCM(secret)

    def encrypt(self, nonce: bytes, data: bytes, context: bytes) -> bytes:
        """Data, encrypted, with its tag behind it; it decrypts only with this nonce and context."""
        return self._cipher.encrypt(nonce, data, context)

    def decrypt(self, nonce: bytes, data: bytes, context: bytes) -> bytes | None:
        """What was encrypted; None if it was not this, with this key, nonce and context."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, data, context)
        except InvalidTag:
            return None


class Keyring:
    """The keys at hand.

    Args:
        keys: in the order of the file; None stands for what is not encrypted.
        file: where they are from, for errors.
    """

    def __init__(self, keys: tuple[Key | None, ...] = (None,), file: Path | None = None) -> None:
        self.present = keys[0]
        """The key that encrypts what is written; None where nothing is to be encrypted."""
        self.reads_unencrypted = None in keys
        """Whether what is not encrypted is read."""
        self.keys: Mapping[bytes, Key] = {key.id: key for key in keys if key is not None}
        """All keys by their ids."""
        self._file = file

    def missing(self, what: str, key_id: bytes) -> MissingKeyError:
        """The error that a key is missing, for what was to be read."""
        if self._file is None:
            return MissingKeyError(
                f"{what} is encrypted with key {key_id.hex()}, and there is no key file.",
                hint="Name the file with the key in the setting `encryption_key_file`.",
            )
        return MissingKeyError(f"{what} is encrypted with key {key_id.hex()}, which is not in {self._file}.")


def load_keyring(path: Path | None) -> Keyring:
    """The keys of a file; without a file, nothing is encrypted.

    Raises:
        ConfigurationError: if it cannot be read, others than its owner may read it, a line of it is no key, or the package
            cryptography is not installed.
    """
    if path is None:
        return Keyring()
    try:
        mode = path.stat().st_mode
        if os.name == "posix" and mode & _FOR_OTHERS:
            raise ConfigurationError(
                f"The key file {path} is open to others: its permissions are {stat.S_IMODE(mode):03o}.",
                hint=f"Take them away: chmod 600 {path}",
            )
        size = path.stat().st_size if stat.S_ISREG(mode) else _MAX_FILE_BYTES
        if size >= _MAX_FILE_BYTES:
            raise ConfigurationError(f"The key file {path} is too large for one, or no file.", hint=_HOW_TO_MAKE)
        lines = read_range(path).decode(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError, NotFoundError):
        raise ConfigurationError(f"There is no key file {path}.", hint=_HOW_TO_MAKE) from None
    except (OSError, UnavailableError) as error:
        raise ConfigurationError(f"The key file {path} cannot be read: {error}.") from None
    if find_spec("cryptography") is None:
        raise ConfigurationError(
            "Encryption needs the package cryptography, which is not installed.",
            hint="Install it with `pip install 'gamearchive[encryption]'`.",
        )
    keys: list[Key | None] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            keys.append(None if text == UNENCRYPTED else Key(_secret(text, path, number)))
    if not keys:
        raise ConfigurationError(f"There is no key in {path}.", hint=_HOW_TO_MAKE)
    return Keyring(tuple(keys), path)


def _secret(text: str, path: Path, number: int) -> bytes:
    """The bytes of a key; a line that is none is not repeated, for it may be nearly one."""
    try:
        secret = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigurationError(f"Line {number} of {path} is not {KEY_BYTES} bytes in base64.", hint=_HOW_TO_MAKE)
    return secret
