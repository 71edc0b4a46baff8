"""PKCS#11 tokens by SoftHSM, in a folder of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.packages import install

PIN = "a PIN of the tests"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")


def soft_hsm_missing() -> str:
    """Why SoftHSM can't be had here, after an attempt to install it; empty when it is there."""
    if module_path() and shutil.which("softhsm2-util"):
        return ""
    return install("SoftHSM", ("softhsm2",))


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
