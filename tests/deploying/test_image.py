"""The Dockerfile: what hadolint says, that it is locked, and its steps one by one where no container engine is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploying.conftest import ROOT

DOCKERFILE = ROOT / "Dockerfile"
LOCK = ROOT / "config/docker/requirements.txt"


def test_hadolint_has_nothing_to_say_against_it() -> None:
    done = subprocess.run(
        # Layers of their own are kept by builders when what is behind them changes.
        [Path(sys.executable).with_name("hadolint"), "--no-color", "--ignore", "DL3059", DOCKERFILE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_bases_and_packages_are_pinned_and_it_is_nobody_s_root() -> None:
    text = DOCKERFILE.read_text()

    assert re.findall(r"^ARG \w+_IMAGE=(\S+)", text, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in re.findall(r"^ARG \w+_IMAGE=(\S+)", text, re.MULTILINE))
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "65532:65532"
    for command in re.findall(r"pip.*?install(?:.*\\\n)*.*", text):
        assert "--require-hashes" in command or "--no-index" in command, command


def test_all_that_is_depended_on_is_locked_by_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name != "dev"}
    needs = [need for part in (project["dependencies"], *extras.values()) for need in part]
    wanted = {re.split(r"[\[<>=~! ;]", need)[0] for need in needs}
    entries = re.findall(r"^([A-Za-z0-9._-]+)==.*?(?=^\S|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL)

    assert wanted <= set(entries), f"not in {LOCK.name}: {wanted - set(entries)}; run .ci/lock-image"
    for entry in re.split(r"\n(?=\S)", LOCK.read_text().strip()):
        assert "--hash=sha256:" in entry


def test_nothing_but_what_is_copied_goes_to_the_build() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for words in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE.read_text(), re.MULTILINE)
        for source in words.split()[:-1]
    }

    assert all(any(source == entry or source.startswith(f"{entry}/") for entry in allowed) for source in copied)
    assert all(any(source == entry or source.startswith(f"{entry}/") for source in copied) for entry in allowed)


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes root and unshare")
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_its_steps_make_an_image_that_runs_as_the_chart_runs_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.deploying.running", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert done.stdout.rstrip().endswith("all that the container printed is in its log")
