"""joblog.paths: which folder is meant, and that nobody else can look into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from joblog.errors import Denied, InvalidInput
from joblog.paths import MAX_SOCKET_PATH_BYTES, DataFolder, check_socket_path, config_file, data_dir, make_folder


def test_order_of_data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"JOBLOG_DATA_DIR": "/v", "XDG_DATA_HOME": "/x", "HOME": "/h"}
    assert data_dir(Path("/given"), environ) == Path("/given")
    assert data_dir(None, environ) == Path("/v")
    del environ["JOBLOG_DATA_DIR"]
    assert data_dir(None, environ) == Path("/x/joblog")
    environ["XDG_DATA_HOME"] = ""
    assert data_dir(None, environ) == Path("/h/.local/share/joblog")
    monkeypatch.chdir(tmp_path)
    assert data_dir(Path("here"), environ) == tmp_path / "here"


def test_order_of_settings_files(tmp_path: Path) -> None:
    environ = {"JOBLOG_LEADER_CONFIG": "/v.toml", "XDG_CONFIG_HOME": str(tmp_path)}
    assert config_file("leader", Path("/given.toml"), environ) == Path("/given.toml")
    assert config_file("leader", None, environ) == Path("/v.toml")
    assert config_file("worker", None, environ) is None
    file = tmp_path / "joblog" / "worker.toml"
    file.parent.mkdir()
    file.touch()
    assert config_file("worker", None, environ) == file


def test_everything_lies_below_the_data_folder() -> None:
    folder = DataFolder(Path("/d"))
    names = [name for name in vars(DataFolder) if isinstance(vars(DataFolder)[name], property)]
    assert len(names) >= 10
    assert all(getattr(folder, name).is_relative_to("/d") for name in names)


def test_folders_are_private(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        made = make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o755)
    assert stat.S_IMODE(make_folder(made).stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(Denied, match="belongs to user 65534"):
        make_folder(folder)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(InvalidInput, match="is not a folder"):
            make_folder(path)
    with pytest.raises(InvalidInput, match="can't be made"):
        make_folder(tmp_path / ("x" * 300))


def test_socket_paths_have_a_limit() -> None:
    fitting = Path("/" + "s" * (MAX_SOCKET_PATH_BYTES - 1))
    assert check_socket_path(fitting) == fitting
    with pytest.raises(InvalidInput, match="shorter path"):
        check_socket_path(Path(f"{fitting}s"))


def test_who_has_no_home_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert data_dir(None, {"JOBLOG_DATA_DIR": "/data/joblog"}) == Path("/data/joblog")
    assert data_dir(None, {"XDG_DATA_HOME": "/x"}) == Path("/x/joblog")
    with pytest.raises(InvalidInput, match="JOBLOG_DATA_DIR"):
        data_dir(None, {})
    assert config_file("no-such-program", None, {}) is None
