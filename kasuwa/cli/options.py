"""Options that every command has."""

from typing import Annotated

import typer

Data = Annotated[str | None, typer.Option("--data", help="Folder of database, files and keys.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
