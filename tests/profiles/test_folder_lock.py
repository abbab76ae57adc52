"""A folder is written into by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE, lock_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such locks on Windows")

HOLD = """
import sys, time
from adadecode.profiles.folder_lock import lock_folder
with lock_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_folder_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "p") as folder:
        assert folder.is_dir()
        with (
            pytest.raises(InputError, match=r"another process is writing into .*: wait for it"),
            lock_folder(folder),
        ):
            pass
        (folder / "data").write_text("")
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["data"]
    with lock_folder(tmp_path / "p"):
        pass


def test_a_folder_into_which_nothing_was_written_is_not_left(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "p"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process"), lock_folder(tmp_path):
            pass
        holder.kill()
    assert (tmp_path / LOCK_FILE).exists()
    with lock_folder(tmp_path):
        pass


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="cannot write into"), lock_folder(tmp_path / "x"):
        pass
