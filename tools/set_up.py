"""Make `.venv` hold exactly what a lock names: `python -m tools.set_up runtime|dev --stamp FILE`.

Runs before anything is installed, so it uses the standard library alone. uv is installed by hash with pip and
does the rest; where uv cannot run, pip installs the same lock, slower.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
REQUIREMENTS = ROOT / "requirements"
NPM_CLIENT = ROOT / ".cache" / "npm-client"

PIP_INSTALL = (PYTHON, "-m", "pip", "install", "--quiet")
UV_INSTALL = (UV, "pip", "install", "--quiet", "--python", PYTHON)

NO_VENV = """\
{python} cannot make virtual environments (its ensurepip module is missing).
On Debian and Ubuntu: apt install python3-venv. Elsewhere: install a complete Python 3.11 or later,
or name another: make PYTHON=/path/to/python3"""


def environment() -> dict[str, str]:
    """Our environment without what would lead pip or uv out of `.venv`; mirrors and certificates stay."""
    foreign = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return kept | {
        "PIP_USER": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def run(*command: str | Path) -> bool:
    """Whether the command could be started and succeeded; what it says goes to our own output."""
    try:
        return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment()).returncode == 0
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def make_venv(stamp: Path) -> None:
    """Make `.venv`, anew where it is broken, was made for another folder, or by a Python that is gone."""
    kind, _, folder = stamp.name.partition(".")
    made_elsewhere = any(not other.name.endswith("." + folder) for other in VENV.glob(kind + ".*"))
    if PYTHON.exists() and not made_elsewhere and run(PYTHON, "-c", "import pip"):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401  (Debian ships Python without it)
    except ImportError:
        sys.exit(NO_VENV.format(python=sys.executable))
    if not run(sys.executable, "-m", "venv", VENV):
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(NO_VENV.format(python=sys.executable))


def pinned_uv() -> str:
    """The version of uv that `requirements/uv.txt` names."""
    lines = (REQUIREMENTS / "uv.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith("uv=="))


def runs_uv() -> bool:
    """Whether the uv in `.venv` starts and is the pinned one."""
    try:
        said = subprocess.run([UV, "--version"], capture_output=True, text=True, env=environment())
    except OSError:
        return False
    return said.returncode == 0 and said.stdout.split()[1:2] == [pinned_uv()]


def have_uv() -> bool:
    """Whether `.venv` has the pinned uv and it runs; installs it by hash when it does not."""
    if not runs_uv():
        words = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", REQUIREMENTS / "uv.txt")
        run(*PIP_INSTALL, *words)
    return runs_uv()


def install(lock: Path) -> None:
    """Bring `.venv` to what `lock` names, with the project itself; exits with advice when it cannot."""
    print(f"installing {lock.relative_to(ROOT)} into .venv", flush=True)
    # The project last, from this folder: its build tool stands in the lock.
    own = ("--no-deps", "--no-build-isolation", "--editable", ".")
    if have_uv():
        sync = (UV, "pip", "sync", "--quiet", "--python", PYTHON, "--require-hashes")
        if run(*sync, lock, REQUIREMENTS / "uv.txt") and run(*UV_INSTALL, "--offline", *own):
            return
    print("uv could not install; pip does it (slower)", file=sys.stderr)
    if run(*PIP_INSTALL, "--no-deps", "--require-hashes", "-r", lock) and run(
        *PIP_INSTALL, "--no-index", *own
    ):
        return
    sys.exit("The libraries could not be installed: see above. Is the network, or pip's mirror, reachable?")


def install_npm_client() -> Path:
    """The folder with an npm client from a wheel, installed by hash on first use."""
    complete = NPM_CLIENT / ".complete"
    if not complete.exists():
        words = ("--require-hashes", "--target", NPM_CLIENT, "-r", REQUIREMENTS / "npm.txt")
        if not (have_uv() and run(*UV_INSTALL, *words)) and not run(*PIP_INSTALL, *words):
            sys.exit("No npm on the PATH, and its wheel could not be installed: see above.")
        complete.touch()
    return NPM_CLIENT


def main() -> None:
    parser = argparse.ArgumentParser(description="Install what a lock names into .venv")
    parser.add_argument("kind", choices=["runtime", "dev"])
    parser.add_argument("--stamp", type=Path, required=True, help="written when done")
    arguments = parser.parse_args()
    stamp = ROOT / arguments.stamp
    make_venv(stamp)
    dev = stamp.with_name(stamp.name.replace("runtime.", "dev.", 1))
    # The developer's lock holds the server's: `make serve` must not take the developer's tools away.
    kind = "dev" if arguments.kind == "dev" or dev.exists() else "runtime"
    install(REQUIREMENTS / f"{kind}.txt")
    if kind == "dev":
        stamp.with_name(stamp.name.replace("dev.", "runtime.", 1)).touch()
        dev.touch()
    stamp.touch()


if __name__ == "__main__":
    main()
