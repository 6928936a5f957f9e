"""Sealing: what must be read again but not from a stolen copy of the database."""

import base64
import binascii
import hashlib
import hmac
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Before a key of the file that is to become the first one: it opens already, and seals nothing yet.
NEXT = "next:"


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


def key_mark(key: str) -> str:
    """Enough of a key's hash to know it again, and of no use for anything else."""
    return hashlib.sha256(b"kasuwa key " + key.encode()).hexdigest()[:16]


def connection_name(keys: Sequence[str]) -> str:
    """What a worker's connections are called: it tells the operator's commands which keys the worker has.

    PostgreSQL keeps 63 characters, which are the first six keys.
    """
    return "kasuwa " + ",".join(key_mark(key)[:8] for key in keys)


def role_password(key: str, role: str) -> str:
    """A database role's password follows from the sealing key: nobody has to know or keep it."""
    return base64.urlsafe_b64encode(hmac.digest(key.encode(), f"role {role}".encode(), "sha256")).decode()


def read_keys(setting: str, file: Path) -> list[str]:
    """The keys of the setting (newest first, parted by commas), else of the file, made at first need.

    The file can be read by its owner alone. A key that is marked as the next one comes last.
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
    lines = sorted(file.read_text("utf-8").split(), key=lambda line: line.startswith(NEXT))
    return _checked(list(dict.fromkeys(line.removeprefix(NEXT) for line in lines)), str(file))


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
