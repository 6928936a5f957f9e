"""Resolve `requirements/*.in` into locks with hashes: `make lock`, or `make lock ARGS=--upgrade`.

The locks serve every Python from 3.11 on and every platform, and name no host: where packages come from is
the machine's own setting.
"""

import subprocess
import sys

from tools.set_up import REQUIREMENTS, ROOT, UV

LOCKS = {
    "uv": ("uv",),
    "npm": ("npm",),
    "runtime": ("runtime", "build"),
    "dev": ("runtime", "build", "dev"),
}


def lock(name: str, sources: tuple[str, ...], options: list[str]) -> None:
    """Write `requirements/<name>.txt` from `requirements/<source>.in`."""
    words = [
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--annotation-style",
        "line",
    ]
    words += ["--no-emit-index-url", "--custom-compile-command", "make lock"]
    if name == "dev":
        # What tests run is what the server runs.
        words += ["--constraints", "requirements/runtime.txt"]
    files = [f"requirements/{source}.in" for source in sources]
    command = [
        str(UV),
        "pip",
        "compile",
        *words,
        *options,
        *files,
        "--output-file",
        f"requirements/{name}.txt",
    ]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    for name, sources in LOCKS.items():
        lock(name, sources, sys.argv[1:])
        locked = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").count("==")
        print(f"requirements/{name}.txt: {locked} packages")


if __name__ == "__main__":
    main()
