"""Make `.venv` hold exactly what a lock names: `python -m tools.set_up runtime|dev --stamp FILE`.

Runs before anything is installed, so it uses the standard library alone. uv is installed by hash with pip and
does the rest; where uv cannot run, pip installs the same lock, slower.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
REQUIREMENTS = ROOT / "requirements"
NPM_CLIENT = ROOT / ".cache" / "npm-client"

INSTALL = ("install", "--quiet")
UV_INSTALL = (UV, "pip", *INSTALL, "--python", PYTHON)

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


def run(*command: str | Path, python_path: Path | None = None) -> bool:
    """Whether the command could be started and succeeded; what it says goes to our own output."""
    variables = environment() | ({"PYTHONPATH": str(python_path)} if python_path else {})
    try:
        return subprocess.run([str(part) for part in command], cwd=ROOT, env=variables).returncode == 0
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def bundled_pip() -> Path | None:
    """The wheel of pip that comes with this Python; None for one without (Debian's lacks it at first)."""
    try:
        import ensurepip
    except ImportError:
        return None
    folders = [Path(ensurepip.__file__).parent / "_bundled"]
    if elsewhere := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.insert(0, Path(elsewhere))
    return next((wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))), None)


def pip(*words: str | Path) -> bool:
    """Run pip for `.venv` straight from its wheel: unpacking it there first takes as long as all the rest."""
    wheel = bundled_pip()
    return wheel is not None and run(PYTHON, "-m", "pip", *words, python_path=wheel)


def make_venv(stamp: Path) -> None:
    """Make `.venv`, anew where it is broken, was made for another folder, or by a Python that is gone."""
    stamps = [*VENV.glob("runtime.*"), *VENV.glob("dev.*")]
    made_elsewhere = any(other.suffix != stamp.suffix for other in stamps)
    if PYTHON.exists() and not made_elsewhere and run(PYTHON, "-c", ""):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if bundled_pip() is None or not run(sys.executable, "-m", "venv", "--without-pip", VENV):
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
        pip(*INSTALL, *words)
    return runs_uv()


def install(lock: Path) -> None:
    """Bring `.venv` to what `lock` names, with the project itself; exits with advice when it cannot."""
    print(f"installing {lock.relative_to(ROOT)} into .venv", flush=True)
    # The project last, from this folder: its build tool stands in the lock.
    own = ("--no-deps", "--no-build-isolation", "--editable", ".")
    if have_uv():
        # Compiled now, or every start of a server that may not write there compiles again, which doubles it.
        sync = (UV, "pip", "sync", "--quiet", "--compile-bytecode", "--python", PYTHON, "--require-hashes")
        if run(*sync, lock, REQUIREMENTS / "uv.txt") and run(*UV_INSTALL, "--offline", *own):
            return
    print("uv could not install; pip does it (slower)", file=sys.stderr)
    if pip(*INSTALL, "--no-deps", "--require-hashes", "-r", lock) and pip(*INSTALL, "--no-index", *own):
        return
    sys.exit("The libraries could not be installed: see above. Is the network, or pip's mirror, reachable?")


def install_npm_client() -> Path:
    """The folder with an npm client from a wheel, installed by hash on first use."""
    complete = NPM_CLIENT / ".complete"
    if not complete.exists():
        words = ("--require-hashes", "--target", NPM_CLIENT, "-r", REQUIREMENTS / "npm.txt")
        if not (have_uv() and run(*UV_INSTALL, *words)) and not pip(*INSTALL, *words):
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
    run(PYTHON, "-m", "compileall", "-q", ROOT / "kasuwa")
    if kind == "dev":
        stamp.with_name(stamp.name.replace("dev.", "runtime.", 1)).touch()
        dev.touch()
    stamp.touch()


if __name__ == "__main__":
    main()
