"""Sealing: keys can be changed, a derived sealer needs its material, and the key file is made once."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from kasuwa.base.ids import new_code, new_id, new_token, read_id, read_number, token_hash
from kasuwa.base.secrets import KeyWrong, SealBroken, Sealer, new_key, read_keys


def test_what_is_sealed_is_opened_and_does_not_show() -> None:
    sealer = Sealer([new_key()])
    sealed = sealer.seal(b"a secret")
    assert b"a secret" not in sealed
    assert sealer.open(sealed) == b"a secret"
    assert sealer.seal(b"a secret") != sealed


def test_every_changed_byte_breaks_the_seal() -> None:
    sealer = Sealer([new_key()])
    sealed = sealer.seal(b"a secret")
    for place in range(0, len(sealed), 7):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(SealBroken):
            sealer.open(changed)


@pytest.mark.parametrize("material", [None, b"of the caller"])
def test_a_key_can_be_changed(material: bytes | None) -> None:
    old, new = new_key(), new_key()

    def sealer(*keys: str) -> Sealer:
        whole = Sealer(keys)
        return whole if material is None else whole.derived(material)

    sealed = sealer(old).seal(b"kept")
    assert sealer(new, old).open(sealed) == b"kept"
    # The new key seals: once the old one is gone, what was sealed since is still read.
    assert sealer(new).open(sealer(new, old).seal(b"since")) == b"since"
    with pytest.raises(SealBroken, match="KASUWA_SECRET_KEY"):
        sealer(new).open(sealed)


def test_a_derived_sealer_needs_its_material_and_the_key() -> None:
    key = new_key()
    sealed = Sealer([key]).derived(b"one").seal(b"kept")
    for other in (Sealer([key]), Sealer([key]).derived(b"two"), Sealer([new_key()]).derived(b"one")):
        with pytest.raises(SealBroken):
            other.open(sealed)


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    keys = [new_key(), new_key()]
    assert read_keys(f" {keys[0]} , {keys[1]},", tmp_path / "secret.key") == keys
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_made_at_first_need_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret.key"
    keys = read_keys("", file)
    assert read_keys("", file) == keys
    assert len(keys) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]


def test_what_a_killed_process_left_does_not_stop_the_next_one_of_its_number(tmp_path: Path) -> None:
    (tmp_path / f".secret.key.{os.getpid()}").write_text("left")
    assert len(read_keys("", tmp_path / "secret.key")) == 1


def _read(file: Path, answers: "multiprocessing.SimpleQueue[list[str]]") -> None:
    answers.put(read_keys("", file))


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for round_ in range(10):
        file, answers = tmp_path / f"{round_}" / "secret.key", fork.SimpleQueue()
        racers = [fork.Process(target=_read, args=(file, answers)) for _ in range(4)]
        for racer in racers:
            racer.start()
        keys = [answers.get() for _ in racers]
        for racer in racers:
            racer.join()
        assert all(found == keys[0] for found in keys)


@pytest.mark.parametrize("wrong", ["short", "x" * 44, "ümlaut", "!" * 44])
def test_a_wrong_key_says_what_a_key_looks_like(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(KeyWrong, match="KASUWA_SECRET_KEY must hold 32 random bytes"):
        read_keys(wrong, tmp_path / "secret.key")


def test_an_empty_key_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("\n")
    with pytest.raises(KeyWrong, match="put the key back"):
        read_keys("", tmp_path / "secret.key")


# Ids, tokens and codes -----------------------------------------------------------------------------


def test_ids_rise_and_tokens_and_codes_have_their_shape() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert {found.version for found in ids} == {7}
    assert len({new_token() for _ in range(100)}) == 100
    assert {len(new_token()) for _ in range(100)} == {43}
    assert all(len(code) == 6 and code.isdecimal() for code in (new_code() for _ in range(100)))
    assert len(token_hash("x")) == 32


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("0197c0de-0000-7000-8000-000000000001", True),
        ("0197C0DE-0000-7000-8000-000000000001", True),
        ("0197c0de000070008000000000000001", False),
        ("{0197c0de-0000-7000-8000-00000000001}", False),
        ("urn:uuid:0197c0de-0000-7000-8000-000", False),
        ("0197c0de-0000-7000-8000-00000000000g", False),
        ("0197c0de-0000-7000-8000-00000000000１", False),
        ("0197c0de0-000-7000-8000-000000000001", False),
        ("", False),
    ],
)
def test_an_id_is_read_in_its_one_spelling(text: str, is_id: bool) -> None:
    assert (read_id(text) is not None) == is_id


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("0", None),
        ("01", None),
        ("-1", None),
        ("1_0", None),
        ("１", None),
        ("9" * 30, None),
        ("", None),
    ],
)
def test_a_number_is_read_in_its_plain_spelling(text: str, number: int | None) -> None:
    assert read_number(text) == number


def test_whoever_comes_second_uses_the_first_ones_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, first = tmp_path / "secret.key", new_key()

    def too_late(source: str, target: Path) -> None:
        file.write_text(first)
        raise FileExistsError

    monkeypatch.setattr(os, "link", too_late)
    assert read_keys("", file) == [first]
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
