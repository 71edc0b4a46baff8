"""PKCS#11 tokens by SoftHSM, in a folder of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PIN = "a PIN of the tests"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")


def soft_hsm_missing() -> str:
    """Why SoftHSM can't be had here, after an attempt to install it; empty when it is there."""
    if module_path() and shutil.which("softhsm2-util"):
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "SoftHSM is not installed, and installing it takes root and apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "softhsm2"],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}"
    return ""


def module_path() -> str:
    """SoftHSM's library; empty when there is none."""
    return next((path for path in _MODULES if Path(path).is_file()), "")


class SoftHsm:
    """Tokens in a folder. SOFTHSM2_CONF must name `conf` in every process that uses them."""

    def __init__(self, folder: Path) -> None:
        self.module = module_path()
        self.tokens = folder / "tokens"
        self.conf = folder / "softhsm2.conf"
        self.tokens.mkdir()
        self.conf.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.labels: set[str] = set()

    def add_token(self, label: str) -> None:
        """Makes a token, unless it is there."""
        if label not in self.labels:
            subprocess.run(
                ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"],
                env={**os.environ, "SOFTHSM2_CONF": str(self.conf)},
                check=True,
                capture_output=True,
            )
            self.labels.add(label)
