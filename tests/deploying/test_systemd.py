"""systemd's own check of the units, and what they promise."""

from __future__ import annotations

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from joblog.leader.settings import LeaderSettings
from joblog.settings import load
from joblog.worker.settings import WorkerSettings
from tests.deploying.conftest import ROOT

UNITS = sorted((ROOT / "config/systemd").glob("*.service"))


class _Unit(ConfigParser):
    """Keys may be given more than once in units; those are not asked for here."""

    def __init__(self, path: Path) -> None:
        super().__init__(interpolation=None, strict=False)
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(path)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_nothing_wrong(path: Path, tmp_path: Path) -> None:
    # It looks whether the program is there: one that is.
    unit = tmp_path / path.name
    unit.write_text(path.read_text().replace("/usr/bin/joblog", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_daemons_that_cannot_go_on_are_not_started_again_and_again() -> None:
    for path in UNITS:
        service = _Unit(path)["Service"]
        assert service["Restart"] == "always"
        assert "2" in service["RestartPreventExitStatus"].split()


def test_tasks_outlive_their_worker() -> None:
    assert _Unit(ROOT / "config/systemd/joblog-worker.service")["Service"]["KillMode"] == "process"


def test_settings_in_units_are_settings() -> None:
    for program, kind in (("leader", LeaderSettings), ("worker", WorkerSettings)):
        text = (ROOT / f"config/systemd/joblog-{program}.service").read_text()
        lines = [line.removeprefix("Environment=") for line in text.splitlines() if line.startswith("Environment=")]
        variables = dict(line.split("=", 1) for line in lines)
        variables.pop("JOBLOG_TOKEN_FILE", None)
        settings = load(kind, environ=variables).values
        folder = _Unit(ROOT / f"config/systemd/joblog-{program}.service")["Service"]["StateDirectory"]
        assert str(settings.data_dir) == f"/var/lib/{folder}"  # type: ignore[attr-defined]
