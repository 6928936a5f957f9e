"""Sealing: what must be read again but not from a stolen copy of the database."""

import base64
import binascii
import hmac
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class SealBroken(Exception):
    """The bytes were changed, or sealed with a key that is no longer among ours."""


class KeyWrong(Exception):
    """A sealing key that cannot be used; the message says what one looks like."""


class Sealer:
    """Seals with the first key and opens with any of them, so that a key can be changed."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, content: bytes) -> bytes:
        return self._fernet.encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise SealBroken("sealed with another KASUWA_SECRET_KEY, or changed since") from error

    def marks(self, content: bytes) -> list[bytes]:
        """Keyed hashes of the content, the newest key's first.

        For what is too short to hide behind a plain hash, such as six digits. Keep the first, compare all.
        """
        return [hmac.digest(_derive(key, b"marks").encode(), content, "sha256") for key in self._keys]

    def derived(self, material: bytes) -> "Sealer":
        """A sealer that only somebody who also has `material` can use."""
        return Sealer([_derive(key, material) for key in self._keys])


def _derive(key: str, material: bytes) -> str:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=base64.urlsafe_b64decode(key), info=b"kasuwa.derived")
    return base64.urlsafe_b64encode(hkdf.derive(material)).decode()


def new_key() -> str:
    return Fernet.generate_key().decode()


def read_keys(setting: str, file: Path) -> list[str]:
    """The keys of the setting (newest first, parted by commas), else of the file, made at first need.

    The file can be read by its owner alone.
    """
    if setting:
        return _checked([key.strip() for key in setting.split(",") if key.strip()], "KASUWA_SECRET_KEY")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # 0600
        with os.fdopen(descriptor, "w") as out:
            out.write(new_key() + "\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            # A link fails where the name is taken: whoever comes second uses the first one's key.
            os.link(temporary, file)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
    return _checked(file.read_text("utf-8").split(), str(file))


def _checked(keys: list[str], place: str) -> list[str]:
    for key in keys:
        try:
            fits = len(base64.urlsafe_b64decode(key)) == 32
        except (ValueError, binascii.Error):
            fits = False
        if not fits:
            raise KeyWrong(
                f"{place} must hold 32 random bytes in URL-safe base64 for each key, such as {new_key()}"
            )
    if not keys:
        raise KeyWrong(f"{place} holds no key: put the key back that sealed this data")
    return keys
