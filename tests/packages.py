"""Debian packages that tests use, installed where that is possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def install(what: str, packages: tuple[str, ...]) -> str:
    """Installs packages; why `what` can't be had here, empty when it could. One process at a time."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"{what} is not installed, and installing it takes root and apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with Path(tempfile.gettempdir(), "joblog-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}"
    return ""
