"""`kasuwa secrets rotate`: another sealing key, beside running servers. See docs/decisions/sealing-keys.md.

Each run takes the next step that is safe. Which keys the running workers have stands in the names of their
connections, on whatever machine they run.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec
import typer
from msgspec import Struct

from kasuwa.base.ids import new_id
from kasuwa.base.once import KEPT_SECONDS
from kasuwa.base.postgres.bootstrap import APPLICATION
from kasuwa.base.postgres.folder import sync_folder, write_file
from kasuwa.base.postgres.process import PlainUser
from kasuwa.base.problems import Conflict
from kasuwa.base.secrets import NEXT, SealBroken, Sealer, connection_name, new_key
from kasuwa.cli.doctor.rows import Owner
from kasuwa.cli.output import say, say_json, warn
from kasuwa.cli.sealed import MARKS, Walked, walk
from kasuwa.database import PROBE, sealing_keys, visiting_database
from kasuwa.settings import Settings

_LOCK_KEY = 0x6B657973  # "keys"
# Answers that were kept before the probe was sealed anew; $1 is how many seconds one is kept.
_OLD_ANSWERS = """
    FROM once WHERE sealed <> '' AND expires_at > now()
    AND expires_at < (SELECT created_at FROM seal_probe) + make_interval(secs => $1)
"""
_COUNT_OLD = f"SELECT count(*) AS count, max(expires_at) AS until {_OLD_ANSWERS}"
_FORGET_OLD = f"""
    UPDATE once SET sealed = '', fingerprint = '' WHERE scope_hash IN (SELECT scope_hash {_OLD_ANSWERS})
"""  # noqa: S608 - our own text


_NOTE = """
    SELECT note_installation($1, 'operator', 'operator', 'secrets.rotate', 'secrets', 'secret.key',
                             $2::text::json)
"""


class StepUnsafe(Conflict):
    code = "step-unsafe"
    title = "Not yet"


class Wishes(Struct, frozen=True):
    """What the operator asked for beside the next step."""

    new: bool = False
    drop: bool = False
    at_once: bool = False
    yes: bool = False


class Rotated(Struct, frozen=True, kw_only=True):
    """How far a run has come, and with how many keys.

    `waiting`: the workers have to be replaced before the next step; `sealed`: everything is under the first
    key; `dropped`: which is the only one now. `looked_at` counts sealed values, `lost` those that no key
    opens. After `drop_after` the old keys may go; None is now.
    """

    step: Literal["waiting", "sealed", "dropped"]
    keys: int
    looked_at: int = 0
    sealed_anew: int = 0
    lost: int = 0
    drop_after: datetime | None = None


Tell = Callable[[str], None]


def run_rotation(
    settings: Settings, *, new: bool, drop: bool, at_once: bool, yes: bool, as_json: bool
) -> None:
    """Take the next step and say what comes then. Raises StepUnsafe."""
    wishes = Wishes(new, drop, at_once, yes)
    with visiting_database(settings) as urls:
        rotated = asyncio.run(rotate(settings, urls.owner, wishes, warn if as_json else say))
    if as_json:
        say_json(rotated)


async def rotate(settings: Settings, owner_url: str, wishes: Wishes, tell: Tell = say) -> Rotated:
    """Bring the new key in, to the front, and under everything sealed, as far as the workers let it.

    `tell` is given what is done and what comes then, for a person. Raises StepUnsafe.
    """
    owner = await asyncpg.connect(owner_url, server_settings={"jit": "off"})
    try:
        if not await owner.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
            raise StepUnsafe("Another rotation runs. Wait for its end; it can be run again.")
        rotated = await _step(settings, owner, wishes, tell)
        await owner.execute(_NOTE, new_id(), msgspec.json.encode(rotated).decode())
        return rotated
    finally:
        await owner.close()


async def _step(settings: Settings, owner: Owner, wishes: Wishes, tell: Tell) -> Rotated:
    if not await _bring_to_front(settings, owner, tell, new=wishes.new):
        if wishes.drop:
            raise StepUnsafe("Nothing was dropped.")
        return Rotated(step="waiting", keys=len(sealing_keys(settings)))
    keys = sealing_keys(settings)
    sealed, until = await _seal_anew(owner, keys, tell)
    dropped = wishes.drop and await _drop_old(settings, owner, keys, wishes, tell)
    return Rotated(
        step="dropped" if dropped else "sealed",
        keys=len(sealing_keys(settings)),
        looked_at=sealed.looked_at,
        sealed_anew=sealed.old,
        lost=sealed.lost,
        drop_after=None if wishes.drop else until,
    )


async def _bring_to_front(settings: Settings, owner: Owner, tell: Tell, *, new: bool) -> bool:
    """Whether every worker seals with the first key; else what was done has been said. Raises StepUnsafe."""
    place = settings.data_folder() / "secret.key"
    if settings.secret_key:
        if new:
            raise StepUnsafe(
                f"The keys stand in KASUWA_SECRET_KEY. Add this one at its end, after a comma: {new_key()}\n"
                "Restart every server, put the new key first, restart again, then run this without --new-key."
            )
    else:
        lines = sealing_lines(settings, place)
        waiting = [line for line in lines if line.startswith(NEXT)]
        if new:
            if waiting:
                raise StepUnsafe("A new key is on its way already: run this without --new-key.")
            waiting = [NEXT + new_key()]
            write_keys(place, [*lines, *waiting])
            tell("A new key is in secret.key. It seals nothing yet: keep a copy of the file elsewhere.")
        if waiting:
            if await _workers_without(owner, waiting[0].removeprefix(NEXT)):
                return _later("know the new key", tell, failed=not new)
            old = [line for line in lines if not line.startswith(NEXT)]
            write_keys(place, [waiting[0].removeprefix(NEXT), *old])
            tell("The new key is the first in secret.key now, and every worker knows it.")
            new = True
    first = sealing_keys(settings)[0]
    if unknowing := await _workers_without(owner, first):
        raise StepUnsafe(
            f"{unknowing} connections are of workers that cannot open what the first key seals, and others "
            "may seal with it: put it behind the old one, restart every server, and only then in front."
        )
    if await _workers_without(owner, first, as_first=True):
        return _later("seal with the new key", tell, failed=not new)
    return True


def _later(what: str, tell: Tell, *, failed: bool) -> bool:
    advice = (
        f"Workers run that do not yet {what}. Replace them (systemctl reload kasuwa, or SIGHUP to `kasuwa "
        "serve`; with KASUWA_SECRET_KEY restart the servers), then run `kasuwa secrets rotate` again."
    )
    if failed:
        raise StepUnsafe(advice)
    tell(advice)
    return False


async def _workers_without(owner: Owner, key: str, *, as_first: bool = False) -> int:
    """How many connections of the application do not know the key, or do not seal with it."""
    names = await owner.fetch(
        """
        SELECT application_name AS name FROM pg_stat_activity
        WHERE usename = $1 AND datname = current_database()
        """,
        APPLICATION,
    )
    head, _, mark = connection_name([key]).partition(" ")
    known = [row["name"].removeprefix(f"{head} ").split(",") for row in names]
    return sum(mark not in (marks[:1] if as_first else marks) for marks in known)


async def _seal_anew(owner: Owner, keys: Sequence[str], tell: Tell) -> tuple[Walked, datetime | None]:
    """Everything under the first key; what was found, and when the last answer under an old one ends.

    Raises StepUnsafe when something is left.
    """
    probe: bytes = await owner.fetchval("SELECT sealed FROM seal_probe")
    try:
        Sealer(keys[:1]).open(probe)
    except SealBroken:
        _check_opens(keys, probe)
        # Its time is when nobody sealed with an old key any more: answers kept since then need none.
        await owner.execute("UPDATE seal_probe SET sealed = $1, created_at = now()", Sealer(keys).seal(PROBE))
    sealed = await walk(owner, keys, seal=True, progress=_progress)
    left = await walk(owner, keys, seal=False)
    tell(f"{sealed.looked_at} sealed values: {sealed.old} sealed anew, {left.old} left to do")
    if left.lost:
        tell(f"{left.lost} open with no key that is here: `kasuwa doctor` names them")
    if left.old:
        raise StepUnsafe("They changed meanwhile: run `kasuwa secrets rotate` again.")
    if len(keys) == 1:
        return sealed, None
    [answers] = await owner.fetch(_COUNT_OLD, KEPT_SECONDS)
    until: datetime | None = answers["until"]
    when = "now" if until is None else f"after {_time(until)}, when the last answer kept for a repeat ends"
    tell(f"The old keys may be dropped {when}: `kasuwa secrets rotate --drop-old`.")
    return sealed, until


def _check_opens(keys: Sequence[str], probe: bytes) -> None:
    try:
        Sealer(keys).open(probe)
    except SealBroken:
        raise StepUnsafe(
            "What is sealed was sealed with a key that is not here: bring it back behind the first one."
        ) from None


def _progress(place: str, count: int) -> None:
    warn(f"{place}: {count} values so far")


async def _drop_old(
    settings: Settings, owner: Owner, keys: Sequence[str], wishes: Wishes, tell: Tell
) -> bool:
    """Leave the first key alone, which everything was just seen to open with; whether there were others.

    Keys that stand in the environment are left to the operator. Raises StepUnsafe.
    """
    if len(keys) == 1:
        tell("There is one key: nothing to drop.")
        return False
    [answers] = await owner.fetch(_COUNT_OLD, KEPT_SECONDS)
    if answers["count"] and not wishes.at_once:
        raise StepUnsafe(
            f"{answers['count']} answers kept for repeats were sealed before, with their callers' keys, and "
            f"cannot be sealed anew. The last one ends {_time(answers['until'])}: come back then, or forget "
            "them by --now."
        )
    for mark in MARKS:
        count = await owner.fetchval(f"SELECT count(*) FROM {mark.table} WHERE {mark.counts}")  # noqa: S608
        if count:
            tell(f"Up to {count} {mark.words}: those made under an old key, which nobody can make again.")
    tell("Backups of before need the old keys: keep a copy of them as long as you keep such a backup.")
    if not wishes.yes:
        typer.confirm("Drop the old keys?", abort=True, err=True)
    # Emptied, not deleted: a late repeat must not do its work a second time.
    await owner.execute(_FORGET_OLD, KEPT_SECONDS)
    if settings.secret_key:
        tell("Nothing needs the old keys: leave only the first in KASUWA_SECRET_KEY and restart the servers.")
        return False
    write_keys(settings.data_folder() / "secret.key", keys[:1])
    tell("secret.key has one key. Workers forget the old ones when they are replaced (SIGHUP).")
    return True


def sealing_lines(settings: Settings, place: Path) -> list[str]:
    """The lines of the file of the keys, which is made where there is none."""
    sealing_keys(settings)
    return place.read_text("utf-8").split()


def write_keys(place: Path, lines: Sequence[str]) -> None:
    """Replace the file in one durable step, readable by its owner of before alone."""
    real = place.resolve()
    before = real.stat()
    write_file(real, "\n".join(dict.fromkeys(lines)) + "\n", PlainUser(before.st_uid, before.st_gid))
    # What a kill left of an earlier writing holds keys too, such as one that is to go.
    for left in real.parent.glob(f".{real.name}.*"):
        left.unlink(missing_ok=True)
    sync_folder(real.parent)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"
