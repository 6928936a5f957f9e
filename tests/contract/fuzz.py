"""Schemathesis against a real server: `python -m tests.contract.fuzz [--examples 100]`.

All phases and checks on every built operation. What of the contract's good data may be refused is listed in
`valid_data_refused.toml`, each with its reason.
"""

import argparse
import copy
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from kasuwa.base.context import Context
from kasuwa.cli.visiting import in_the_shop
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, Price
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, Place
from kasuwa.settings import read_settings
from tests.cli.staging import Installation, serving
from tests.client import ORIGIN
from tests.conftest import picture_bytes
from tests.contract.callers import Caller, right_caller
from tests.contract.cast import Cast, new_cast
from tests.contract.fuzz_links import links_of
from tests.contract.recipes import Entry, built

HERE = Path(__file__).parent
REFUSED = HERE / "valid_data_refused.toml"
WIDE = {
    "KASUWA_STOREHARMONY_REQUESTS_PER_SECOND": "100000",
    "KASUWA_BIGCOMMERCE_REQUESTS_PER_WINDOW": "1000000",
    "KASUWA_SHOPLAZZA_BURST": "1000000",
    "KASUWA_SHOPLAZZA_STORE_BURST": "1000000",
    "KASUWA_LOGIN_TRIES": "1000000",
}
# For each operation, with names that nobody else has: whoever needs more meets names that are taken.
BODIES = 50
# Of the stateful phase: chains of about six steps. Fewer seldom come to a removal and what follows.
CHAINS = 30
PHASES = "examples,coverage,fuzzing"
# Apart, in a shop of its own: the other phases remove what its chains begin with.
STATEFUL = "stateful"
# Operations whose body is a code of the second factor: the present step's, and the one after it.
_BY_CODE = {"confirmSecondFactor": 0, "renewRecoveryCodes": 1}
# What stands in the path of every operation.
_SAME_IN_ALL = frozenset({"storeid", "store_hash", "accountid"})
# 412: an If-Match made by chance names nothing that anybody has read.
_ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "412", "429"]
# BigCommerce says 413 to a page that is too long.
_REFUSED = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]
_UNEXPECTED = ["get", "put", "post", "delete", "options", "patch", "trace"]


class Outcome(Struct):
    """What one contract's run came to.

    `reached` counts the 2xx answers of each operation. `lives` is what became of each thing that a step of a
    chain has made, as the later steps that name it: `GET 2xx`, `DELETE 2xx`, `GET 404`.
    """

    contract: str
    code: int
    output: str
    calls: int
    reached: Counter[str]
    operations: set[str]
    lives: list[list[str]]

    def summary(self) -> str:
        used, whole = sum(map(bool, self.lives)), len(self.whole_lives)
        chains = f"{len(self.lives)} ids made by steps, {used} named later, {whole} to the end, "
        return (
            f"{self.contract}: {len(self.operations)} operations, {self.calls} calls, "
            f"{chains if self.lives else ''}exit {self.code}"
        )

    @property
    def whole_lives(self) -> list[list[str]]:
        """Of those that were removed and asked for once more, and nobody found them."""
        return [life for life in self.lives if "DELETE 2xx" in life and life[-1].endswith("404")]

    @property
    def chained(self) -> bool:
        """Whether steps named what earlier ones had made: a run without links tries nothing."""
        return any(self.lives)

    @property
    def unreached(self) -> list[str]:
        return sorted(self.operations - {name for name, count in self.reached.items() if count})


def refusals() -> dict[tuple[str, str], str]:
    """(contract's API, operation id) to the reason why good data may be refused there."""
    listed = tomllib.loads(REFUSED.read_text(encoding="utf-8"))
    return {(api, name): reason for api, reasons in listed.items() for name, reason in reasons.items()}


@contextmanager
def server(broken: str = "") -> Iterator[tuple[Installation, str]]:
    """`kasuwa serve` on a data folder of its own, with wide quotas.

    `broken` names a fault of tests.faults.broken to build in.
    """
    with tempfile.TemporaryDirectory(prefix="kasuwa-fuzz-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        installation = Installation(Path(folder), {**WIDE, "BROKEN_BY_TEST": broken})
        with serving(installation, module="tests.faults.broken" if broken else "kasuwa") as running:
            assert running.process.stdout is not None
            # Unread, its log would fill the pipe and hold the server up.
            drain = threading.Thread(target=running.process.stdout.read, daemon=True)
            drain.start()
            yield installation, running.url
            running.process.send_signal(signal.SIGTERM)
            drain.join()


def fuzz(
    installation: Installation,
    url: str,
    *,
    examples: int,
    phases: str = PHASES,
    only: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Run every contract, one after the other."""
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in built():
        if not only or entry.contract.name in only:
            grouped[entry.contract.name].append(entry)
    for name, entries in grouped.items():
        seeds = _seeds(installation, url, entries, examples)
        yield _run(name, entries, seeds, url, examples, phases)


def _run(
    name: str, entries: list[Entry], seeds: dict[str, Any], url: str, examples: int, phases: str
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="kasuwa-fuzz-") as folder:
        work = Path(folder)
        (work / "seeds.json").write_text(json.dumps(seeds), encoding="utf-8")
        (work / "schema.json").write_text(json.dumps(_document(entries)), encoding="utf-8")
        (work / "schemathesis.toml").write_text(_configuration(entries, examples), encoding="utf-8")
        log = work / "log.jsonl"
        log.touch()
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(work / "schemathesis.toml")]
        command += ["run", str(work / "schema.json"), "--url", url + seeds["base"], "--workers", "1"]
        command += ["--phases", phases, "--max-examples", str(examples), "--continue-on-failure"]
        command += ["--seed", "20260101", "--suppress-health-check", "all", "--warnings", "off"]
        for entry in entries:
            command += ["--include-operation-id", entry.operation.operation_id]
        for header, value in seeds["headers"].items():
            command += ["--header", f"{header}: {value}"]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.contract.fuzz_hooks",
            "KASUWA_FUZZ_SEEDS": str(work / "seeds.json"),
            "KASUWA_FUZZ_LOG": str(log),
            "PYTHONPATH": str(HERE.parent.parent),
        }
        done = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    reached = Counter(line["operation"] for line in lines if 200 <= line["status"] < 300)
    operations = {entry.operation.operation_id for entry in entries}
    output = done.stdout + done.stderr
    return Outcome(name, done.returncode, output, len(lines), reached, operations, _lives(lines))


def _lives(lines: list[dict[str, Any]]) -> list[list[str]]:
    lives: dict[str, list[str]] = {}
    for line in lines:
        if not line["is_step"]:
            continue
        works = 200 <= line["status"] < 300
        for name in line["named"]:
            if name in lives:
                lives[name].append(f"{line['method']} {'2xx' if works else line['status']}")
        if works and line["method"] == "POST":
            for name in line["answered"]:
                if name not in line["named"]:
                    lives.setdefault(name, [])
    return list(lives.values())


def _document(entries: list[Entry]) -> dict[str, Any]:
    """The contract with the paths that have something built: the largest takes long to read as a whole."""
    paths = {entry.operation.path for entry in entries}
    document = entries[0].contract.document
    links = links_of(entries)
    return {
        **document,
        "paths": {path: _linked(item, links) for path, item in document["paths"].items() if path in paths},
    }


def _linked(item: dict[str, Any], links: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The path's operations with the links of their answers."""
    linked = copy.deepcopy(item)
    for operation in linked.values():
        if isinstance(operation, dict) and operation.get("operationId") in links:
            operation["responses"]["200"]["links"] = links[operation["operationId"]]
    return linked


def _configuration(entries: list[Entry], examples: int) -> str:
    """Where good data may be refused, 400 and 422 are answers too."""
    listed = refusals()
    # BigCommerce answers 501 to PATCH: that is documented, and its own tests ask for it.
    methods = [one for one in _UNEXPECTED if one != "patch" or entries[0].dialect != "bigcommerce"]
    parts = [
        # A NUL cannot be kept in a text; the tests of hostile bodies send it everywhere.
        "[generation]\nallow-x00 = false",
        f"[phases.coverage]\nunexpected-methods = {json.dumps(methods)}",
        f"[phases.stateful.generation]\nmax-examples = {max(examples, CHAINS)}",
        "[checks]",
        f"positive_data_acceptance.expected-statuses = {json.dumps(_ACCEPTED)}",
        f"negative_data_rejection.expected-statuses = {json.dumps(_REFUSED)}",
    ]
    statuses = json.dumps([*_ACCEPTED, "400", "422"])
    for entry in entries:
        if entry.key in listed:
            parts += ["[[operations]]", f'include-operation-id = "{entry.operation.operation_id}"']
            parts += [f"checks.positive_data_acceptance.expected-statuses = {statuses}"]
    return "\n".join(parts) + "\n"


def _seeds(installation: Installation, url: str, entries: list[Entry], examples: int) -> dict[str, Any]:
    """A shop with heaps of products, and for each operation what makes it work there."""
    removers = [entry for entry in entries if entry.operation.method.upper() == "DELETE"]

    async def make(context: Context) -> tuple[Caller, list[Cast]]:
        cast = await new_cast(context.services)
        heap = [await _with_another_product(cast, number) for number in range(3 * examples * len(removers))]
        return await right_caller(cast, context.services), heap

    caller, heap = in_the_shop(read_settings(installation.environment), make)
    headers: dict[str, str] = {}
    operations = {}
    for entry in entries:
        call = entry.call(caller.cast)
        headers |= _credentials(entry, caller)
        shown = [caller.cast]
        if entry in removers:
            shown += heap[removers.index(entry) :: len(removers)]
        operations[entry.operation.operation_id] = {
            "secret": caller.cast.factor_secret if entry.operation.operation_id in _BY_CODE else "",
            "steps": _BY_CODE.get(entry.operation.operation_id, 0),
            "ids": [_ids(entry, cast) for cast in shown],
            "query": _query(entry, caller.cast),
            "queries": [_query(entry, cast) for cast in shown[1:]] if call.query else [],
            "bodies": [] if call.json is UNSET else [entry.call(caller.cast).json for _ in range(BODIES)],
            "file": None if call.content is UNSET else b64encode(call.content).decode(),
        }
    cast = caller.cast
    always = {"storeid": str(cast.store_id), "accountid": str(cast.user_id)}
    base = entries[0].base.replace("{store_hash}", cast.store_hash)
    picture = url + cast.media_path
    found = {"operations": operations, "headers": headers, "always": always, "base": base, "picture": picture}
    # The address of a picture of ours is that of this server.
    again: dict[str, Any] = json.loads(json.dumps(found).replace(ORIGIN, url))
    return again


def _credentials(entry: Entry, caller: Caller) -> dict[str, str]:
    """The secrets under the very names of the contract: by them Schemathesis knows what it may leave out."""
    schemes = entry.contract.document["components"]["securitySchemes"]
    wanted = {scheme for alternative in entry.operation.security for scheme in alternative}
    return {
        schemes[scheme]["name"]: secret
        for scheme, secret in caller.secrets.items()
        if scheme in wanted and schemes[scheme]["type"] == "apiKey"
    }


def _ids(entry: Entry, cast: Cast) -> dict[str, str | int]:
    """What the operation's own path names; stores and accounts are the same in all."""
    names = re.findall(r"\{(\w+)\}", entry.operation.path)
    return {name: entry.identity(name).of(cast) for name in names if name not in _SAME_IN_ALL}


def _query(entry: Entry, cast: Cast) -> dict[str, Any]:
    """The recipe's query as the schema types it: a list of numbers is no text here."""
    lists = {one["name"] for one in entry.parameters("query") if one["schema"].get("type") == "array"}
    query = entry.call(cast).query
    return {name: [entry.identity(name).of(cast)] if name in lists else text for name, text in query.items()}


async def _with_another_product(cast: Cast, number: int) -> Cast:
    """The same shop with a product, a picture and a category more, which may be removed."""
    context = cast.shop.owner
    variant = NewVariant(price=Price(currency="NGN", selling_minor=100))
    product = await create_product(context, NewProduct(name=f"crate {number}", variants=(variant,)))
    kept = await keep_bytes(context, picture_bytes("PNG", size=(8, 6), seed=7), STOREHARMONY_FORMATS)
    placed = await show_picture(context, product.product_id, kept, Place())
    return msgspec.structs.replace(
        cast,
        category_id=await create_category(context, f"shelf {number}"),
        product_id=product.product_id,
        product_number=product.number,
        picture_id=placed.picture.product_picture_id,
        picture_number=placed.picture.number,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--contract", action="append", default=[])
    options = parser.parse_args(arguments)
    failed = 0
    with server() as (installation, url):
        for phases in (PHASES, STATEFUL):
            runs = fuzz(installation, url, examples=options.examples, phases=phases, only=options.contract)
            for outcome in runs:
                tried = outcome.chained if phases == STATEFUL else not outcome.unreached
                failed += outcome.code != 0 or not tried
                sys.stdout.write(f"{outcome.output}\n{outcome.summary()}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
