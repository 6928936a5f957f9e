"""The generated files are what the generator makes of the contracts today."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from kasuwa.base.http.contract import Operation
from kasuwa.base.http.openapi import load_contract
from tests.contract.harness import METHODS, ROOT
from tools.generate_contracts import TARGETS, Contract, find_stale, generate

PRESENT = {name: target for name, target in TARGETS.items() if (ROOT / "contract" / f"{name}.yaml").exists()}


def operations_of(name: str) -> dict[str, Operation]:
    package, module = TARGETS[name]
    found: dict[str, Operation] = importlib.import_module(f"kasuwa.api.{package}.{module}").OPERATIONS
    return found


def test_the_committed_files_are_the_generated_ones(tmp_path: Path) -> None:
    files = generate(ROOT / "contract")
    assert find_stale(files, ROOT) == []
    assert len(files) == 2 * len(PRESENT)
    copied = tmp_path / "contract"
    shutil.copytree(ROOT / "contract", copied)
    text = (copied / "bigcommerce.yaml").read_text(encoding="utf-8")
    (copied / "bigcommerce.yaml").write_text(
        text.replace("maximum: 250", "maximum: 251", 1), encoding="utf-8"
    )
    changed = find_stale(generate(copied), ROOT)
    assert changed == [
        Path("kasuwa/api/bigcommerce/contract.py"),
        Path("kasuwa/api/bigcommerce/contract.json"),
    ]


def test_the_command_says_when_a_file_is_stale() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate_contracts", "--check"], cwd=ROOT, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("name", PRESENT)
def test_the_table_has_every_operation_of_the_contract(name: str) -> None:
    document = load_contract(ROOT / "contract" / f"{name}.yaml")
    expected = {
        (item[method]["operationId"], method.upper(), path): item[method]
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }
    table = operations_of(name)
    assert {(key, one.method, one.path) for key, one in table.items()} == set(expected)
    for (key, _, _), source in expected.items():
        one = table[key]
        assert one.statuses == {int(status) for status in source["responses"]}
        assert one.permission == source.get("x-permission")
        assert one.scope == source.get("x-scope")
        assert [set(group) for group in one.security] == [set(group) for group in source["security"]]
        assert set(one.body) == set(source.get("requestBody", {}).get("content", {}))
        assert one.safe == source.get("x-safe", one.method in ("GET", "HEAD"))


@pytest.mark.parametrize("name", PRESENT)
def test_each_type_of_the_table_can_be_read_and_written(name: str) -> None:
    for one in operations_of(name).values():
        for kind in (*one.body.values(), one.path_parameters, one.query, one.answer):
            if kind is not None:
                msgspec.json.Decoder(kind)


def test_two_operations_whose_names_become_one_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "contract" / "bigcommerce.yaml").read_text(encoding="utf-8")
    path = tmp_path / "bigcommerce.yaml"
    path.write_text(
        text.replace("operationId: updateProducts\n", "operationId: create_product\n"), encoding="utf-8"
    )
    with pytest.raises(AssertionError, match="name"):
        Contract(path)
