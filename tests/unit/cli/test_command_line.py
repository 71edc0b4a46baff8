"""The command line where no leader runs: what it says, which exit codes it ends with, what it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import joblog

JOBLOG = [sys.executable, "-P", "-m", "joblog.cli.main"]


def call(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBLOG_")}
    environment["JOBLOG_DATA_DIR"] = str(data_dir)
    return subprocess.run(
        [*JOBLOG, *arguments], env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def test_version(tmp_path: Path) -> None:
    done = call("--version", data_dir=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"joblog {joblog.__version__}\n")


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = call("--help", data_dir=tmp_path)
    assert done.returncode == 0
    words = done.stdout.split()
    names = "run pipe logs ls stat verify delete up status leader worker archive doctor config completion"
    assert [name for name in names.split() if name not in words] == []


@pytest.mark.parametrize("command", ["run", "pipe", "logs", "up", "worker"])
def test_help_of_a_command(tmp_path: Path, command: str) -> None:
    done = call(command, "--help", data_dir=tmp_path)
    assert done.returncode == 0
    assert f"joblog {command}" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["ls", "r"],
        ["logs", "r/t"],
        ["logs", "-f", "r/t"],
        ["stat", "r/t"],
        ["verify", "r"],
        ["verify", "--all"],
        ["delete", "--yes", "r"],
        ["status"],
    ],
)
def test_where_no_leader_runs_it_says_how_to_start_one(tmp_path: Path, arguments: list[str]) -> None:
    done = call(*arguments, data_dir=tmp_path)
    assert done.returncode == 3
    assert f"joblog up --data-dir {tmp_path}" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["ls"], ["logs", "-f", "r/t"], ["verify", "--all"], ["status"]])
def test_where_the_leader_does_not_answer(tmp_path: Path, arguments: list[str]) -> None:
    done = call(*arguments, "--leader", "127.0.0.1:1", data_dir=tmp_path)
    assert done.returncode == 9
    assert "127.0.0.1:1" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs", "r"],
        ["logs", "../etc/passwd"],
        ["logs", "r/t/0"],
        ["logs", "r/t/x"],
        ["logs", "r/" + "t" * 251],
        ["logs", "r/t", "--from", "-1"],
        ["logs", "r/t", "--from", "1", "--line", "2"],
        ["logs", "r/t", "--line", "0"],
        ["logs", "r/t", "--format", "xml"],
        ["logs", "r/t", "--format", "cri", "--timestamps"],
        ["logs", "r/t", "--namespace", "a/b"],
        ["stat", "a\x1b/b"],
        ["verify"],
        ["verify", "r", "--all"],
        ["delete", ""],
        ["delete", "r/../x", "--yes"],
        ["ls", "--label", "novalue"],
        ["ls", "--leader", "nowhere"],
        ["logs"],
        ["nosuch"],
        ["config", "show", "leader", "--set", "nosuch=1"],
        ["token", "create", "--role", "reader", "--live-logs", "9" * 20],
        ["backup", "prune", "--keep-last", "9" * 20],
        ["retention", "preview", "--in", "never"],
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str]) -> None:
    if "--leader" not in arguments and arguments[0] != "config":
        arguments = [*arguments, "--leader", "127.0.0.1:1"]
    done = call(*arguments, data_dir=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_status_as_json_where_nothing_runs(tmp_path: Path) -> None:
    done = call("status", "--json", data_dir=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 3
    assert found["grpc_address"] is None
    assert found["http_url"] is None
    assert found["leader"]["running"] is found["worker"]["running"] is False


def test_config_show(tmp_path: Path) -> None:
    file = tmp_path / "leader.toml"
    file.write_text("[keys]\nkind = 'passphrase'\npassphrase = 'very secret'\n")
    file.chmod(0o600)
    shown = call("config", "show", "leader", "--config", str(file), "--set", "log.level=debug", data_dir=tmp_path)
    listed = call("config", "show", "leader", "--config", str(file), "--json", data_dir=tmp_path)
    assert shown.returncode == listed.returncode == 0
    assert "very secret" not in shown.stdout + listed.stdout
    assert "command line" in shown.stdout
    settings = {item["key"]: item for item in json.loads(listed.stdout)["leader"]}
    assert settings["keys.kind"]["source"].startswith(str(file))
    assert settings["data_dir"]["value"] == json.dumps(str(tmp_path))


def test_doctor_finds_a_folder_open_to_others(tmp_path: Path) -> None:
    (tmp_path / "leader").mkdir()
    (tmp_path / "leader").chmod(0o755)
    (tmp_path / "leader" / "kek.key").write_bytes(bytes(32))
    (tmp_path / "leader" / "kek.key").chmod(0o644)
    done = call("doctor", "--json", data_dir=tmp_path)
    found = {(one["check"], one["level"]) for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert {("modes", "warning"), ("key", "problem"), ("leader", "problem"), ("worker", "warning")} <= found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(tmp_path: Path, shell: str) -> None:
    done = call("completion", shell, data_dir=tmp_path)
    assert done.returncode == 0
    assert "_JOBLOG_COMPLETE" in done.stdout


def test_starting_a_task_loads_little(tmp_path: Path) -> None:
    program = (
        "import sys; from joblog.cli.main import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"typer", "rich", "grpc", "google", "asyncio", "pydantic", "fastapi", "zstandard"}
