"""Settings: read from the environment by type, refused with words that say how to write them."""

import os
from pathlib import Path

import pytest

from kasuwa.settings import (
    SETTINGS,
    Settings,
    SettingWrong,
    read_settings,
    setting_environment,
    words,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_each_type_is_read() -> None:
    settings = read_settings(
        {
            "KASUWA_PORT": "8100",
            "KASUWA_HEADER_SECONDS": "2.5",
            "KASUWA_BEHIND_PROXY": "Yes",
            "KASUWA_HOST": "::1",
            "KASUWA_HOSTS": "a.example, b.example,",
            "OTHER_PORT": "1",
        }
    )
    assert (settings.port, settings.header_seconds, settings.behind_proxy) == (8100, 2.5, True)
    assert (settings.host, settings.host_names()) == ("::1", ("a.example", "b.example"))


def test_an_option_of_the_command_wins_and_none_is_none() -> None:
    assert read_settings({"KASUWA_PORT": "1"}, port=2, host=None) == Settings(port=2)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KASUWA_PORT", "8123")
    assert read_settings().port == 8123


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes"])
def test_true_is_written_so(text: str) -> None:
    assert read_settings({"KASUWA_ORIGINALS": text}).originals


@pytest.mark.parametrize("text", ["0", "false", "no", ""])
def test_false_is_written_so(text: str) -> None:
    assert not read_settings({"KASUWA_ORIGINALS": text}).originals


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("KASUWA_PORT", "http", "must be a number, not 'http'"),
        ("KASUWA_PORT", "", "must be a number"),
        ("KASUWA_PORT", "-1", "must be 0 or more"),
        ("KASUWA_BODY_SECONDS", "nan", "must be 0 or more"),
        ("KASUWA_BODY_SECONDS", "inf", "must be 0 or more"),
        ("KASUWA_BODY_SECONDS", "1,5", "must be a number"),
        ("KASUWA_ORIGINALS", "maybe", "must be true or false"),
    ],
)
def test_a_wrong_setting_says_its_name_and_how_to_write_it(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingWrong, match=f"{name} {message}"):
        read_settings({name: text})


@pytest.mark.parametrize("box", ["1280", "0x10", "10x10001", "axb", "10x10x10", "-1x5"])
def test_a_box_that_is_none_is_refused(box: str) -> None:
    with pytest.raises(SettingWrong, match="KASUWA_PICTURE_ZOOM_PX must be width x height"):
        Settings(picture_zoom_px=box).picture_sizes()


def test_boxes_are_read() -> None:
    assert Settings(picture_tiny_px="40X53").picture_sizes() == {
        "zoom": (1280, 1280),
        "standard": (386, 513),
        "thumbnail": (190, 250),
        "tiny": (40, 53),
    }


def test_a_child_process_reads_the_same_settings() -> None:
    settings = Settings(port=8100, behind_proxy=True, hosts="a.example", header_seconds=0.5)
    assert read_settings(setting_environment(settings)) == settings
    assert setting_environment(Settings()) == {}


@pytest.mark.parametrize(("user", "folder"), [(0, "/var/lib/kasuwa"), (1000, str(Path.home() / ".kasuwa"))])
def test_the_data_folder_follows_the_user(monkeypatch: pytest.MonkeyPatch, user: int, folder: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert Settings().data_folder() == Path(folder)


def test_a_named_data_folder_is_taken_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data="data").data_folder() == tmp_path / "data"


def test_every_setting_has_its_row() -> None:
    rows = {setting.name: setting for setting in SETTINGS}
    assert len(rows) == len(Settings.__struct_fields__)
    assert (rows["KASUWA_PORT"].type, rows["KASUWA_PORT"].default) == ("int", "8000")
    assert all(setting.reason.endswith(".") for setting in SETTINGS)


def test_words_are_parted_by_commas() -> None:
    assert words(" a, ,b ,") == ("a", "b")
    assert words("") == ()
