"""What the server's parent process hands to its workers. Importing it brings no web framework."""

import os

import msgspec

from kasuwa.settings import Settings

# Our own children alone can read each other's environment; it names the sealing keys.
ORDER_VARIABLE = "WORKER_SETUP"


class WorkerSetup(msgspec.Struct, frozen=True):
    """What a worker needs beside the settings: the application's database address and the sealing keys."""

    settings: Settings
    application_url: str
    keys: list[str]


def handed(setup: WorkerSetup) -> dict[str, str]:
    """The environment that brings `setup` to a worker."""
    return {ORDER_VARIABLE: msgspec.json.encode(setup).decode()}


def take_setup() -> WorkerSetup:
    """What the parent handed down; taken out of the environment, so that no child of ours inherits it."""
    return msgspec.json.decode(os.environ.pop(ORDER_VARIABLE), type=WorkerSetup)
