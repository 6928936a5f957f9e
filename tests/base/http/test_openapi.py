"""The contracts are given out as JSON with a stable ETag."""

from pathlib import Path

import msgspec
import yaml

from kasuwa.base.http.openapi import load_contract, openapi_document

ROOT = Path(__file__).parent.parent.parent.parent


def test_the_json_says_what_the_yaml_says(tmp_path: Path) -> None:
    for path in (ROOT / "contract").glob("*.yaml"):
        document = openapi_document(path)
        assert msgspec.json.decode(document.body) == load_contract(path)
        assert openapi_document(path) is document
        assert document.etag.startswith('"')
        assert document.etag.endswith('"')
    small = tmp_path / "small.yaml"
    small.write_text("day: 2026-01-31\nat: 2026-01-31T09:30:00Z\n", encoding="utf-8")
    assert openapi_document(small).body == b'{"day":"2026-01-31","at":"2026-01-31T09:30:00Z"}'
    assert "2026-01-31" not in yaml.safe_load(small.read_text(encoding="utf-8")).values()


def test_another_text_has_another_etag(tmp_path: Path) -> None:
    etags = set()
    for number, text in enumerate(("a: 1\n", "a: 1 # the same\n", "a: 2\n")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        etags.add(openapi_document(path).etag)
    assert len(etags) == 2
