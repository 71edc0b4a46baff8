"""joblog.settings: sources and their order, and what is said about values that are not allowed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from joblog.errors import InvalidInput, InvalidSettings
from joblog.settings import Settings, effective, load, section, setting, split_assignments


def _no_spaces(text: str) -> None:
    if " " in text:
        raise InvalidInput("a space is in it")


@dataclass(frozen=True, slots=True)
class TankSettings:
    """A section."""

    size_bytes: int = setting(1 << 20, "Size.", unit="bytes", low=1 << 10, high=1 << 30)
    level: float = setting(0.5, "Level.", unit="seconds", low=0, high=1)
    colour: str = setting("red", "Colour.", choices=("red", "green"))
    pumps: int = setting(2, "Pumps.", low=1, high=8)
    open: bool = setting(False, "Open.")
    names: tuple[str, ...] = setting((), "Names.")
    token: str = setting("", "Token.", secret=True)
    title: str = setting("", "Title.", check=_no_spaces)


@dataclass(frozen=True, slots=True)
class PlantSettings(Settings):
    """A program's settings."""

    folder: Path | None = setting(None, "Folder.")
    tank: TankSettings = section(TankSettings, "The tank.")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.tank.open and self.tank.pumps > 4:
            yield "tank.pumps", "must be at most 4 while the tank is open"


def write(folder: Path, text: str) -> Path:
    file = folder / "plant.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def refusal(**sources: object) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(PlantSettings, **sources)  # type: ignore[arg-type]
    return str(caught.value)


def test_defaults_need_no_source() -> None:
    loaded = load(PlantSettings)
    assert loaded.values == PlantSettings()
    assert loaded.source("tank.level") == "default"
    with pytest.raises(FrozenInstanceError):
        loaded.values.tank.level = 0.7  # type: ignore[misc]


def test_later_sources_override(tmp_path: Path) -> None:
    file = write(tmp_path, '[tank]\nsize_bytes = "2MiB"\nlevel = 0.25\ncolour = "green"\n')
    environ = {"JOBLOG_TANK_LEVEL": "0.75", "JOBLOG_TANK_COLOUR": "red"}
    loaded = load(PlantSettings, file=file, environ=environ, flags={"tank.colour": "green", "tank.pumps": None})
    assert (loaded.values.tank.size_bytes, loaded.values.tank.level) == (2 << 20, 0.75)
    assert (loaded.values.tank.colour, loaded.values.tank.pumps) == ("green", 2)
    assert loaded.source("tank.size_bytes") == f"{file} line 2"
    assert loaded.source("tank.level") == "JOBLOG_TANK_LEVEL"
    assert loaded.source("tank.colour") == "command line"
    assert loaded.source("tank.pumps") == "default"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("tank.size_bytes", "4096", 4096),
        ("tank.size_bytes", "1.5 MiB", 3 << 19),
        ("tank.size_bytes", "10kB", 10_000),
        ("tank.level", "1", 1.0),
        ("tank.pumps", "8", 8),
        ("tank.open", "Yes", True),
        ("tank.open", "0", False),
        ("tank.names", "a, b,,c", ("a", "b", "c")),
        ("folder", "/somewhere", Path("/somewhere")),
    ],
)
def test_text_becomes_a_value(key: str, text: str, value: object) -> None:
    variable = "JOBLOG_" + key.upper().replace(".", "_")
    for loaded in (load(PlantSettings, environ={variable: text}), load(PlantSettings, flags={key: text})):
        found: object = loaded.values
        for name in key.split("."):
            found = getattr(found, name)
        assert found == value


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("size_bytes = 1", "a size from 1 KiB to 1 GiB"),
        ('size_bytes = "12 parsecs"', "a size from 1 KiB to 1 GiB"),
        ("size_bytes = 4096.5", "a size from 1 KiB to 1 GiB"),
        ("size_bytes = true", "a size from 1 KiB to 1 GiB"),
        ("level = 1.01", "a number of seconds from 0 to 1"),
        ("level = nan", "a number of seconds from 0 to 1"),
        ('level = "0.5"', "a number of seconds from 0 to 1"),
        ("pumps = 9", "a whole number from 1 to 8"),
        ('pumps = "2"', "a whole number from 1 to 8"),
        ("pumps = [2]", "a whole number from 1 to 8"),
        ('colour = "blue"', "one of red, green"),
        ("open = 1", "true or false"),
        ('names = "a"', "a list of texts"),
        ("names = [1]", "a list of texts"),
        ('title = "a b"', "a space is in it"),
        ("title = {a = 1}", "a text"),
    ],
)
def test_a_refused_value_names_file_line_key_and_what_is_allowed(tmp_path: Path, line: str, allowed: str) -> None:
    file = write(tmp_path, f"# comment\n[tank]\n\n{line}\n")
    message = refusal(file=file)
    assert message.startswith(f"{file} line 4: tank.{line.split(' ')[0]} = ")
    assert allowed in message


def test_a_refused_variable_is_named() -> None:
    message = refusal(environ={"JOBLOG_TANK_PUMPS": "many"})
    assert message == "JOBLOG_TANK_PUMPS: tank.pumps = 'many' must be a whole number from 1 to 8"


def test_all_refusals_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "[tank]\npumps = 0\nlevel = 2\n")
    assert len(refusal(file=file, environ={"JOBLOG_TANK_COLOUR": "blue"}).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "place", "suggestion"),
    [
        ("[tank]\nsize_byte = 1", "line 2: tank.size_byte is not a setting", "did you mean tank.size_bytes?"),
        ("[tanc]\npumps = 1", "line 1: tanc is not a setting", ""),
        ("pumps = 1", "line 1: pumps is not a setting", "did you mean tank.pumps?"),
        ("tank = 3", "line 1: tank is not a setting", ""),
    ],
)
def test_unknown_keys_are_refused(tmp_path: Path, text: str, place: str, suggestion: str) -> None:
    message = refusal(file=write(tmp_path, text))
    assert place in message
    assert suggestion in message


def test_unknown_variables_of_a_section_are_refused() -> None:
    message = refusal(environ={"JOBLOG_TANK_PUMP": "1"})
    assert message == "JOBLOG_TANK_PUMP: tank.pump is not a setting; did you mean tank.pumps?"


def test_variables_of_others_are_let_be() -> None:
    environ = {
        "JOBLOG_LEADER": "x:1",
        "JOBLOG_TANK_SERVICE_HOST": "10.0.0.1",
        "JOBLOG_TANK_SERVICE_PORT_GRPC": "80",
        "JOBLOG_TANK_PORT": "tcp://10.0.0.1:80",
        "JOBLOG_TANK_PORT_80_TCP_ADDR": "10.0.0.1",
        "JOBLOG_TANK_COLOUR": "",
        "TANK_PUMPS": "x",
    }
    assert load(PlantSettings, environ=environ).values == PlantSettings()


@pytest.mark.parametrize("text", [b"[tank", b"\xff = 1", b"a = 1\na = 2"])
def test_what_is_not_toml(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "plant.toml"
    file.write_bytes(text)
    assert refusal(file=file).startswith(f"{file}: is not TOML: ")


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(file=tmp_path / "none.toml") == f"{tmp_path}/none.toml: can't be read: No such file or directory"


def test_values_that_do_not_go_together() -> None:
    message = refusal(environ={"JOBLOG_TANK_OPEN": "true"}, flags={"tank.pumps": 5})
    assert message == "command line: tank.pumps = 5 must be at most 4 while the tank is open"


class TestSecrets:
    def test_from_a_variable_and_masked(self) -> None:
        loaded = load(PlantSettings, environ={"JOBLOG_TANK_TOKEN": "opensesame"})
        assert loaded.values.tank.token == "opensesame"
        shown = {item.key: item for item in effective(loaded)}
        assert shown["tank.token"].value == '"***"'
        assert shown["tank.token"].source == "JOBLOG_TANK_TOKEN"
        assert "opensesame" not in repr(shown)

    def test_never_from_a_flag(self) -> None:
        message = refusal(flags={"tank.token": "opensesame"})
        assert "JOBLOG_TANK_TOKEN" in message
        assert "opensesame" not in message

    def test_from_a_private_file_only(self, tmp_path: Path) -> None:
        file = write(tmp_path, '[tank]\ntoken = "opensesame"\n')
        assert load(PlantSettings, file=file).values.tank.token == "opensesame"
        file.chmod(0o640)
        message = refusal(file=file)
        assert f"chmod 600 {file}" in message
        assert "opensesame" not in message

    def test_not_in_messages(self, tmp_path: Path) -> None:
        file = write(tmp_path, "[tank]\ntoken = 271828\n")
        assert "271828" not in refusal(file=file)


def test_effective_lists_every_setting() -> None:
    shown = effective(load(PlantSettings, environ={"JOBLOG_TANK_SIZE_BYTES": "2048"}))
    assert [item.key for item in shown][:3] == ["folder", "tank.size_bytes", "tank.level"]
    assert shown[1].value == '"2KiB"'
    assert shown[1].default == '"1MiB"'
    assert shown[1].rule.unit == "bytes"


def test_split_assignments() -> None:
    assert split_assignments(["tank.title=a=b", "folder="]) == {"tank.title": "a=b", "folder": ""}
    with pytest.raises(InvalidSettings, match="KEY=VALUE"):
        split_assignments(["tank.title"])


def test_importing_settings_loads_nothing_heavy() -> None:
    code = "import sys, joblog.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tomllib", "difflib", "asyncio", "logging", "json", "grpc", "typer"} & set(loaded)
