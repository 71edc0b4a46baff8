"""Where helm comes from on a machine for which it can't be fetched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.deploying.conftest import ROOT

SCRIPT = ".ci/kubernetes-tools"


def test_elsewhere_helm_is_taken_from_the_path_or_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / SCRIPT, tmp_path / SCRIPT)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("dirname", "mkdir", "ln"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)

    def program(name: str, line: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)

    def run() -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(programs)}
        command = ["/bin/bash", str(tmp_path / SCRIPT)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    program("uname", "echo Darwin arm64")
    done = run()
    assert done.returncode == 1
    assert done.stderr == (
        "helm can't be fetched for Darwin arm64: install it (3.8 or newer) so that it is in the PATH\n"
    )
    program("helm", "echo helm here")
    assert run().returncode == 0
    linked = tmp_path / ".venv/kubernetes-tools/helm"
    assert subprocess.run([linked], capture_output=True, text=True, check=True).stdout == "helm here\n"
