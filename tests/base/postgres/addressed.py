"""Somebody else's PostgreSQL: reached over TCP, with passwords and without a socket."""

import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kasuwa.base.postgres import folder, process
from kasuwa.base.postgres.binaries import Binaries, inspect_binaries
from kasuwa.base.postgres.folder import Layout

DEBIAN = inspect_binaries(Path("/usr/lib/postgresql/15/bin"))


@contextmanager
def addressed_server(data: Path, binaries: Binaries) -> Iterator[str]:
    """A server in a new folder; the address of its administrator."""
    layout = Layout(data=data)
    user = folder.plain_user_for(layout)
    folder.prepare_data_folder(layout, user)
    usable = folder.reachable_binaries(binaries, layout, user)
    password = secrets.token_hex(8)
    folder.write_file(layout.data / "password", password, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as output:
        words = [str(usable.initdb), "-D", str(layout.cluster), "-U", "admin", "-A", "scram-sha-256"]
        words += [f"--pwfile={layout.data}/password", "--locale=C", "--encoding=UTF8"]
        assert process.spawn(words, user, output=output.fileno()).wait() == 0
        words = [str(usable.postgres), "-D", str(layout.cluster), "-c", "listen_addresses=127.0.0.1"]
        words += ["-c", f"port={port}", "-c", "unix_socket_directories="]
        child = process.spawn(words, user, output=output.fileno())
        try:
            while not (layout.postmaster_pid.exists() and "ready" in layout.postmaster_pid.read_text()):
                assert child.poll() is None
                time.sleep(0.01)
            yield f"postgresql://admin:{password}@127.0.0.1:{port}/postgres"
        finally:
            child.send_signal(signal.SIGINT)
            assert child.wait() == 0
