"""helm, as CI has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHART = ROOT / "config/helm/joblog"


class Helm:
    """Runs the real program on the project's chart."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def __call__(self, *arguments: str, values: str = "") -> subprocess.CompletedProcess[str]:
        """values: YAML that goes over the chart's own."""
        more = ["--values", "-"] if values else []
        return subprocess.run(
            [self._program, *arguments, *more], input=values, capture_output=True, text=True, timeout=60, check=False
        )

    def template(self, values: str = "", *, release: str = "joblog", namespace: str = "joblog") -> str:
        """What the chart gives."""
        done = self("template", release, str(CHART), "--namespace", namespace, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def helm() -> Helm:
    done = subprocess.run([ROOT / ".ci/kubernetes-tools"], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"helm can't be had here: {done.stderr.strip()[-300:]}")
    return Helm(ROOT / ".venv/kubernetes-tools/helm")
