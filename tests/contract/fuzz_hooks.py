"""What Schemathesis is told of the server's data: ids that exist, bodies that work, and a log of answers.

Loaded by Schemathesis itself; `fuzz.py` writes the seeds and reads the log.
"""

import copy
import json
import os
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
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
# The ids of the answers to chains' steps. What a later step has of these, a link has brought.
_answered: set[str] = set()


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """Every second good case names things that exist; the first of four has a body that is known to work.

    Of the good removals three of four are known to work: chance names heirs that do not exist.
    """
    if case.meta is None:
        return
    name = case.operation.definition.raw["operationId"]
    if case.meta.phase.name == TestPhase.STATEFUL:
        if "KASUWA_FUZZ_CHAINS_BY_CHANCE" not in os.environ:
            _prepare_step(case, SEEDS["operations"][name])
        return
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
        if seeds["bodies"]:
            case.media_type = "application/json"
            case.body = _good_body(seeds)
        elif seeds["file"] is not None and case.meta.phase.name == TestPhase.FUZZING:
            # The one type of a file that Schemathesis can write.
            case.media_type = "application/octet-stream"
            case.body = b64decode(seeds["file"])

    if isinstance(case.body, dict | list) and not case.meta.is_negative_at(ParameterLocation.BODY):
        # Of bodies that are set here, Schemathesis judges anew whether they are good: of files it cannot.
        case.body = _with_our_picture(case.body)


def _prepare_step(case: "Case[Any]", seeds: dict[str, Any]) -> None:
    """A step of a chain works: what no link has brought from an earlier answer is ours."""
    assert case.meta is not None
    if case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH):
        case.path_parameters.update(
            {name: SEEDS["always"][name] for name in case.path_parameters if name in SEEDS["always"]}
        )
        chance = [
            name
            for name, value in case.path_parameters.items()
            if name not in SEEDS["always"] and not _is_brought(value)
        ]
        if chance:
            ours = _ids(case.method, seeds)
            case.path_parameters.update({name: ours[name] for name in chance})
    if not case.meta.generation.mode.is_positive:
        return
    for header in [name for name in case.headers or {} if name.lower() == "if-match"]:
        # Of chance, it lets no step pass.
        del case.headers[header]
    if case.method.upper() == "DELETE" and seeds["queries"]:
        case.query = dict(_next(seeds["queries"]))
        return
    case.query = {**_brought(case.query), **seeds["query"]}
    if seeds["bodies"]:
        body = _good_body(seeds)
        if isinstance(body, dict):
            body |= {name: value for name, value in _brought(case.body).items() if name in body}
        case.media_type, case.body = "application/json", body
    elif seeds["file"] is not None:
        case.media_type, case.body = "application/octet-stream", b64decode(seeds["file"])


def _brought(value: Any) -> dict[str, Any]:
    """Those members that came from an earlier answer."""
    return {name: one for name, one in value.items() if _is_brought(one)} if isinstance(value, dict) else {}


def _is_brought(value: Any) -> bool:
    return isinstance(value, str | int) and str(value) in _answered


def _good_body(seeds: dict[str, Any]) -> Any:
    """One that is known to work, with names that are not taken while there are such."""
    if seeds["secret"]:
        # Of a second factor the code that is right now: that of the seed is over.
        return {"code": code_now(seeds["secret"], steps=seeds["steps"])}
    return copy.deepcopy(_next(seeds["bodies"]))


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
    is_step = case.meta is not None and case.meta.phase.name == TestPhase.STATEFUL
    ids = sorted(_ids_in(_json(response))) if is_step and 200 <= response.status_code < 300 else []
    _answered.update(ids)
    line = {
        "operation": case.operation.definition.raw["operationId"],
        "method": case.method.upper(),
        "status": response.status_code,
        "is_step": is_step,
        "named": [str(value) for value in (case.path_parameters or {}).values()],
        "answered": ids,
    }
    with _LOG.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _json(response: Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _ids_in(value: Any) -> Iterator[str]:
    """The values of all members whose names end as those of ids do."""
    if isinstance(value, list):
        for one in value:
            yield from _ids_in(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name.lower().endswith("id") and isinstance(one, str | int):
                yield str(one)
            else:
                yield from _ids_in(one)
