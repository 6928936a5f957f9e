"""Write `docs/settings.md` from the settings themselves: `python -m tools.document_settings`."""

import importlib
import sys
from collections.abc import Sequence
from typing import Protocol

from tools.set_up import ROOT

PAGE = ROOT / "docs" / "settings.md"

HEAD = """\
# Settings

Each is an environment variable, read once at start; nothing else configures the server. A value that cannot
be read stops the start and says which one it is. This page is written by `python -m tools.document_settings`.

| setting | type | default | why |
|---|---|---|---|
"""


class Setting(Protocol):
    """What `kasuwa.settings.SETTINGS` tells of each setting; `name` is the environment variable's."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> object: ...
    @property
    def default(self) -> object: ...
    @property
    def reason(self) -> str: ...


def documented_settings() -> Sequence[Setting]:
    """Every setting that the server knows."""
    settings: Sequence[Setting] = importlib.import_module("kasuwa.settings").SETTINGS
    return settings


def cell(value: object) -> str:
    """A value in a table's cell: one line, bars escaped."""
    return " ".join(str(value).split()).replace("|", "\\|")


def kind(setting: Setting) -> str:
    """The type's name as a reader says it."""
    return setting.type.__name__ if isinstance(setting.type, type) else str(setting.type)


def default(setting: Setting) -> str:
    """The default as one would write it into the environment; a dash for none."""
    empty = setting.default is None or setting.default == "" or setting.default == ()
    return "–" if empty else f"`{cell(setting.default)}`"


def page(settings: Sequence[Setting]) -> str:
    """The whole of docs/settings.md."""
    rows = [
        f"| `{setting.name}` | {cell(kind(setting))} | {default(setting)} | {cell(setting.reason)} |"
        for setting in sorted(settings, key=lambda setting: setting.name)
    ]
    return HEAD + "\n".join(rows) + "\n"


def main() -> None:
    text = page(documented_settings())
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit("docs/settings.md is not what the settings say: run `python -m tools.document_settings`")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
