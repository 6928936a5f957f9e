"""`kasuwa` that kills itself (SIGKILL) amid the removal of a merchant.

Run: DIE_AT="statement 40" python -m tests.cli.dying merchant delete ID --yes
The kinds of steps are `statement` (before each of the removal's), `file` (after each that is unlinked),
`outbox` (after its lines are out) and `merchant` (after the last row has gone, before that is committed).
"""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from kasuwa.base import storage
from kasuwa.cli import leaving, main
from kasuwa.domain.merchants import removal
from kasuwa.domain.messages.courier import forget_lines


class Steps:
    """Counts the steps of the chosen kind, and ends the process at the one that was named."""

    def __init__(self, order: str) -> None:
        kind, number = order.split()
        self.kind, self.left = kind, int(number)

    def take(self, kind: str) -> None:
        if kind == self.kind:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)


def die_at(steps: Steps) -> None:
    """Have the removal take its steps, of which there are many: a few rows and files at a time."""
    remove, unlink = removal.remove_merchant, storage._unlink

    async def removing(owner: Any, *arguments: Any) -> removal.Removed:
        return await remove(_Counted(owner, steps), *arguments)  # type: ignore[arg-type]

    def forgetting(*arguments: Any) -> int:
        count = forget_lines(*arguments)
        steps.take("outbox")
        return count

    def unlinking(paths: Iterator[Path] | Sequence[Path]) -> int:
        count = 0
        for path in paths:
            count += unlink([path])
            steps.take("file")
        return count

    vars(leaving)["remove_merchant"] = removing
    vars(removal).update(forget_lines=forgetting, _BATCH=3, _FILES_AT_ONCE=3)
    vars(storage)["_unlink"] = unlinking


class _Counted:
    """The removal's connection, whose statements are steps."""

    def __init__(self, owner: "asyncpg.Connection[Any]", steps: Steps) -> None:
        self._owner = owner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    async def execute(self, query: str, *values: Any) -> str:
        self._steps.take("statement")
        done: str = await self._owner.execute(query, *values)
        if query.startswith("DELETE FROM merchant "):
            self._steps.take("merchant")
        return done


if __name__ == "__main__":
    die_at(Steps(os.environ["DIE_AT"]))
    main()
