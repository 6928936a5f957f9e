"""What is put aside without a name goes with its process, even when that is killed."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kasuwa.base.nameless import NamelessFile
from kasuwa.base.problems import NoSpace
from tests.put_aside import put_aside

# What the process writes to, how many bytes it has written, and then it waits to be killed.
_WRITER = """
import sys, tempfile, time
from pathlib import Path
from kasuwa.base.nameless import NamelessFile
folder = Path(sys.argv[2])
kept = NamelessFile(folder) if sys.argv[1] == "nameless" else None
path = kept.path if kept else Path(tempfile.mkstemp(dir=folder)[1])
path.write_bytes(bytes(1000))
print(path, flush=True)
time.sleep(600)
"""


def test_it_is_opened_as_often_as_one_likes_and_stands_in_no_folder(tmp_path: Path) -> None:
    with NamelessFile(tmp_path) as aside:
        with aside.path.open("wb") as out:
            out.write(b"0123456789")
        with aside.path.open("rb") as one, aside.path.open("rb") as other:
            assert (one.read(4), other.read()) == (b"0123", b"0123456789")
        assert aside.path.stat().st_mode & 0o777 == 0o600
        assert subprocess.check_output(["cat", aside.path]) == b"0123456789", "a child reads it too"
        assert put_aside(os.getpid(), tmp_path) == [10]
        assert list(tmp_path.iterdir()) == []
        path = aside.path
    assert put_aside(os.getpid(), tmp_path) == []
    assert not path.exists()


@pytest.mark.parametrize(("kind", "left"), [("nameless", 0), ("named", 1)])
def test_a_process_that_is_killed_leaves_nothing(kind: str, left: int, tmp_path: Path) -> None:
    """The control: a temporary file with a name stays."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, kind, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        path = Path(writer.stdout.readline().strip())
        assert path.stat().st_size == 1000
        assert put_aside(writer.pid, tmp_path) == ([1000] if kind == "nameless" else [])
        writer.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == left


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(NoSpace):
        NamelessFile(tmp_path)
