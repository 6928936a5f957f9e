"""The data folder on disk: whose it is, where the socket lies, and how a cluster comes to be in it."""

import contextlib
import grp
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from kasuwa.base.postgres.binaries import Binaries, find_major
from kasuwa.base.postgres.errors import NoPlainUser, OtherMajor, StartFailed, UnreachableFolder
from kasuwa.base.postgres.process import PlainUser, spawn

SUPERUSER = "postgres"
SERVER_USER = "kasuwa"
OTHER_SERVER_USER = "postgres"
PORT = 5432
# sun_path of a Unix socket holds 108 bytes with its closing NUL.
SOCKET_PATH_MAX_BYTES = 107


class Layout(Struct, frozen=True):
    """Where things lie in the data folder `data` (absolute, links resolved)."""

    data: Path

    @property
    def cluster(self) -> Path:
        return self.data / "postgres"

    @property
    def postmaster_pid(self) -> Path:
        return self.cluster / "postmaster.pid"

    @property
    def lock(self) -> Path:
        return self.data / "postgres.lock"

    @property
    def visitors_lock(self) -> Path:
        return self.data / "postgres.visitors"

    @property
    def address(self) -> Path:
        return self.data / "postgres.json"

    @property
    def log(self) -> Path:
        return self.data / "postgres.log"

    @property
    def socket_folder(self) -> Path:
        return self.data / "run"


def plain_user_for(layout: Layout) -> PlainUser | None:
    """Who runs PostgreSQL: None means we ourselves. Only root needs somebody else: PostgreSQL refuses root.

    The owner of an existing cluster or data folder comes first, then the system user `kasuwa` (made when it
    is missing), then `postgres`. Raises NoPlainUser.
    """
    if os.geteuid() != 0:
        return None
    for folder in (layout.cluster, layout.data):
        with contextlib.suppress(FileNotFoundError):
            owner = folder.stat().st_uid
            if owner != 0:
                return PlainUser(uid=owner, gid=folder.stat().st_gid)
    for name in (SERVER_USER, OTHER_SERVER_USER):
        if name == SERVER_USER:
            _make_server_user()
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return PlainUser(uid=entry.pw_uid, gid=entry.pw_gid)
    raise NoPlainUser(
        f"PostgreSQL refuses to run as root, and the user `{SERVER_USER}` could not be made. Run Kasuwa as a "
        f"plain user, or make one: useradd --system --user-group --shell /usr/sbin/nologin {SERVER_USER}"
    )


def _make_server_user() -> None:
    with contextlib.suppress(KeyError):
        pwd.getpwnam(SERVER_USER)
        return
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return
    group = ["--user-group"]
    with contextlib.suppress(KeyError):
        grp.getgrnam(SERVER_USER)
        group = ["--gid", SERVER_USER]
    words = [useradd, "--system", *group, "--no-create-home", "--home-dir", "/nonexistent"]
    # Two servers may start at once: whether the user is there afterwards is what counts.
    subprocess.run([*words, "--shell", "/usr/sbin/nologin", SERVER_USER], capture_output=True, check=False)


def prepare_data_folder(layout: Layout, user: PlainUser | None) -> None:
    """Make the data folder, private to the user that runs PostgreSQL; raises UnreachableFolder."""
    data = layout.data
    try:
        data.mkdir(mode=0o700, parents=True)
        give(data, user)
    except FileExistsError:
        if not data.is_dir():
            raise UnreachableFolder(
                f"{data} is not a folder. Name another by KASUWA_DATA or --data."
            ) from None
    except PermissionError as error:
        raise UnreachableFolder(
            f"The folder {data} cannot be made ({error.strerror}). Name one you own by KASUWA_DATA or --data."
        ) from None
    if user is None:
        if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
            owner = _user_name(data.stat().st_uid)
            raise UnreachableFolder(
                f"The folder {data} belongs to {owner} and you cannot write to it. Run this command as "
                f"{owner}, or name another folder by KASUWA_DATA or --data."
            )
        return
    if not user.can_enter(data) and data.stat().st_uid == 0:
        # A private folder that root made: its group may pass through, nobody else.
        os.chown(data, -1, user.gid)
        data.chmod(stat.S_IMODE(data.stat().st_mode) | stat.S_IXGRP)
    if not user.can_enter(data):
        raise UnreachableFolder(
            f"PostgreSQL runs as the user {_user_name(user.uid)}, who cannot reach {data} because a folder "
            f"above it is private. Name a folder such as /var/lib/kasuwa by KASUWA_DATA or --data."
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def give(path: Path, user: PlainUser | None) -> None:
    """Make `path` itself (never what a link points at) the plain user's."""
    if user is not None:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def write_file(path: Path, text: str, user: PlainUser | None) -> None:
    """Replace a file in one step, 0600; a link put in its place is replaced, not followed."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    give(fresh, user)
    fresh.rename(path)


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reachable_binaries(binaries: Binaries, layout: Layout, user: PlainUser | None) -> Binaries:
    """The binaries as the plain user can run them: themselves, or a copy in `<data>/pgsql-<version>`."""
    if user is None or user.can_run(binaries.postgres):
        return binaries
    copy = layout.data / f"pgsql-{binaries.version}"
    copied = Binaries(bin=copy / "bin", version=binaries.version)
    if not _is_copy_of(copied.postgres, binaries.postgres):
        _copy_install_tree(binaries.bin.parent, copy)
    if not user.can_run(copied.postgres):
        raise UnreachableFolder(
            f"The user {_user_name(user.uid)} can run neither {binaries.postgres} nor its copy "
            f"{copied.postgres}. Is {layout.data} mounted noexec? Name other binaries by KASUWA_PG_BIN."
        )
    return copied


def _is_copy_of(copy: Path, source: Path) -> bool:
    try:
        here, there = copy.lstat(), source.stat()
    except FileNotFoundError:
        return False
    return (here.st_size, int(here.st_mtime)) == (there.st_size, int(there.st_mtime))


def _copy_install_tree(source: Path, target: Path) -> None:
    for leftover in target.parent.glob(".pgsql-*"):
        shutil.rmtree(leftover)
    fresh = Path(tempfile.mkdtemp(prefix=".pgsql-", dir=target.parent))
    unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "man", "__pycache__")
    for name in ("bin", "lib", "share"):
        shutil.copytree(source / name, fresh / name, ignore=unneeded, symlinks=True)
    for folder, folders, files in os.walk(fresh):
        for name in (*folders, *files):
            path = Path(folder) / name
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o555 if path.is_dir() else 0o444))
    for program in (fresh / "bin").iterdir():
        program.chmod(0o755)
    fresh.chmod(0o755)
    if target.exists():
        target.rename(target.parent / f"{fresh.name}.old")
    fresh.rename(target)
    sync_folder(target.parent)
    for leftover in target.parent.glob(".pgsql-*"):
        shutil.rmtree(leftover)


def check_major(layout: Layout, binaries: Binaries) -> None:
    """Raise OtherMajor, with the way out, when the cluster was made by another major than the binaries'."""
    try:
        made_by = (layout.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    if made_by == str(binaries.major):
        return
    found = find_major(int(made_by)) if made_by.isdigit() else None
    if found is not None:
        folder = str(found.bin)
        first = ""
    else:
        folder = f"/usr/lib/postgresql/{made_by}/bin"
        first = f"Install PostgreSQL {made_by} (Debian: apt install postgresql-{made_by}). "
    raise OtherMajor(
        f"{layout.cluster} was made by PostgreSQL {made_by}, and {binaries.bin} holds PostgreSQL "
        f"{binaries.version}. Nothing was changed. {first}To move the shop over:\n"
        f"  KASUWA_PG_BIN={folder} kasuwa backup FILE --data {layout.data}\n"
        f"  mv {layout.cluster} {layout.cluster}-{made_by}\n"
        f"  kasuwa restore FILE --data {layout.data}\n"
        f"Or stay with PostgreSQL {made_by}: set KASUWA_PG_BIN={folder} for every command."
    )


def create_cluster(layout: Layout, binaries: Binaries, user: PlainUser | None) -> None:
    """initdb beside the final place, then one rename: a crash half-way leaves nothing that looks whole."""
    fresh = layout.data / ".postgres.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    give(fresh, user)
    words = [str(binaries.initdb), f"--pgdata={fresh}", f"--username={SUPERUSER}", "--auth=trust"]
    words += [
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--lc-messages=C",
        "--data-checksums",
        "--no-instructions",
    ]
    if binaries.major >= 17:
        words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    with tempfile.TemporaryFile() as output:
        code = spawn(words, user, output=output.fileno()).wait()
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if code != 0:
        shutil.rmtree(fresh)
        raise StartFailed(f"{binaries.initdb} ended with {code}:\n{said}")
    with (fresh / "postgresql.conf").open("a") as file:
        file.write("\ninclude = 'kasuwa.conf'\n# Settings below this line win over Kasuwa's.\n")
        file.flush()
        os.fsync(file.fileno())
    write_file(fresh / "pg_hba.conf", HOST_ACCESS, user)
    write_file(fresh / "kasuwa.conf", "", user)
    sync_folder(fresh)
    fresh.rename(layout.cluster)
    sync_folder(layout.data)


# The socket's folder is private: whoever reaches it is the owner or root. There is no other way in.
HOST_ACCESS = "local all all trust\nlocal replication all trust\n"


def open_socket_folder(layout: Layout, user: PlainUser | None) -> Path:
    """A private folder, short enough for a socket: in the data folder where it fits, else a temporary one.

    The temporary one is remembered in the address file and used again, so that crashes leave no trail.
    """
    owner = user.uid if user else os.geteuid()
    own = layout.socket_folder
    if _fits(own):
        with contextlib.suppress(FileExistsError):
            own.mkdir(mode=0o700)
            give(own, user)
        if not is_private(own, owner):
            raise UnreachableFolder(
                f"{own} must be a folder of {_user_name(owner)} that nobody else can enter. Remove it and "
                "start again."
            )
        return own
    before = read_address(layout)
    if before is not None and _fits(Path(before.host)) and is_private(Path(before.host), owner):
        return Path(before.host)
    parents = ["/run"] if os.geteuid() == 0 and os.access("/run", os.W_OK) else []
    for parent in (*parents, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes a private folder in it
        if _fits(Path(parent) / "kasuwa-12345678"):
            folder = Path(tempfile.mkdtemp(prefix="kasuwa-", dir=parent))
            give(folder, user)
            return folder
    raise UnreachableFolder("No folder is short enough for a Unix socket. Set TMPDIR to a short path.")


def close_socket_folder(layout: Layout, folder: Path) -> None:
    """Remove a temporary socket folder after a clean stop."""
    if folder != layout.socket_folder:
        shutil.rmtree(folder, ignore_errors=True)


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) <= SOCKET_PATH_MAX_BYTES


def is_private(folder: Path, owner_uid: int) -> bool:
    """Whether this is a real folder of that owner which nobody else can enter."""
    try:
        facts = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == owner_uid and not facts.st_mode & 0o077


class Address(Struct, frozen=True):
    """How to reach the running server: `host` is the folder of its Unix socket."""

    host: str
    port: int
    superuser: str

    def dsn(self, role: str, database: str) -> str:
        """A URL for asyncpg and PostgreSQL's own programs; no password, as the socket's folder guards."""
        host = quote(self.host, safe="")
        return f"postgresql://{quote(role, safe='')}@/{quote(database, safe='')}?host={host}&port={self.port}"


def read_address(layout: Layout) -> Address | None:
    """The address that the last server wrote, whether or not it still runs."""
    try:
        return msgspec.json.decode(layout.address.read_bytes(), type=Address)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
