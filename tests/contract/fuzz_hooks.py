"""What Schemathesis is told of the server's data: ids that exist, bodies that work, and a log of answers.

Loaded by Schemathesis itself; `fuzz.py` writes the seeds and reads the log.
"""

import copy
import json
import os
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

from tests.second_factors import code_now

SEEDS: dict[str, Any] = json.loads(Path(os.environ["KASUWA_FUZZ_SEEDS"]).read_text(encoding="utf-8"))
_LOG = Path(os.environ["KASUWA_FUZZ_LOG"])
_calls: Counter[tuple[str, bool]] = Counter()


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """Every second good case names things that exist; the first of four has a body that is known to work.

    Of the good removals three of four are known to work: chance names heirs that do not exist.
    """
    if case.meta is None or case.meta.phase.name == TestPhase.STATEFUL:
        return
    name = case.operation.definition.raw["operationId"]
    is_removal = case.method.upper() == "DELETE"
    everything_good = case.meta.generation.mode.is_positive
    # Counted apart: however many bad ones come before it, the first good one works.
    _calls[name, everything_good] += 1
    turn = _calls[name, everything_good] % 4
    works = everything_good and (turn == 1 or (is_removal and turn != 0))
    seeds = SEEDS["operations"][name]
    if case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH):
        for key, value in SEEDS["always"].items():
            if key in case.path_parameters:
                case.path_parameters[key] = value
        if turn % 2 or works:
            case.path_parameters.update(_ids(case.method, seeds))
    if is_removal and seeds["queries"]:
        # Never by a filter of chance: it might take everything that the other operations need.
        case.query = dict(_next(seeds["queries"])) if everything_good else _harmless(case.query, seeds)
        return
    if works:
        by_chance = {} if is_removal else case.query or {}
        case.query = {**by_chance, **seeds["query"]}
        if seeds["body"] is not None:
            case.media_type = "application/json"
            # Of a second factor the code that is right now: that of the seed is over.
            secret, steps = seeds["secret"], seeds["steps"]
            case.body = {"code": code_now(secret, steps=steps)} if secret else copy.deepcopy(seeds["body"])
        elif seeds["file"] is not None and case.meta.phase.name == TestPhase.FUZZING:
            # The one type of a file that Schemathesis can write.
            case.media_type = "application/octet-stream"
            case.body = b64decode(seeds["file"])

    if not case.meta.is_negative_at(ParameterLocation.BODY):
        case.body = _with_our_picture(case.body)


def _with_our_picture(value: Any) -> Any:
    """An address that some machine on the net would have to answer costs seconds: ours is there."""
    if isinstance(value, list):
        return [_with_our_picture(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: SEEDS["picture"]
        if name in ("src", "image_url") and isinstance(one, str)
        else _with_our_picture(one)
        for name, one in value.items()
    }


def _ids(method: str, seeds: dict[str, Any]) -> dict[str, Any]:
    """What is removed is taken from a heap, so that the rest keep their own."""
    return _next(seeds["ids"]) if method.upper() == "DELETE" else seeds["ids"][0]


def _harmless(query: Any, seeds: dict[str, Any]) -> dict[str, Any]:
    """The query, and that the thing must also be the last of the heap."""
    return {**seeds["queries"][0], **(query or {})}


def _next(heap: list[dict[str, Any]]) -> dict[str, Any]:
    return heap.pop() if len(heap) > 1 else heap[0]


@schemathesis.hook
def after_call(context: HookContext, case: "Case[Any]", response: Response) -> None:
    line = {"operation": case.operation.definition.raw["operationId"], "status": response.status_code}
    with _LOG.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
