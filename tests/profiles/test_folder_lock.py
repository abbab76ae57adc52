"""A folder is written into by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
    def hold() -> None:
        with lock_folder(tmp_path / "p"):
            pass

    with ThreadPoolExecutor(1) as elsewhere, lock_folder(tmp_path / "p") as folder:
        assert folder.is_dir()
        with pytest.raises(InputError, match=r"another process is writing into .*: wait for it"):
            elsewhere.submit(hold).result()
        (folder / "data").write_text("")
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["data"]
    hold()


def test_the_thread_that_holds_a_folder_may_ask_again(tmp_path: Path) -> None:
    """What writes a profile holds its folder, and so may the recorder that calls it."""
    with lock_folder(tmp_path / "p") as folder:
        with lock_folder(folder):
            pass
        assert (folder / LOCK_FILE).exists()
    assert not list(tmp_path.iterdir())


def test_a_link_is_never_locked_or_locked_through(tmp_path: Path) -> None:
    """Neither a link in place of the folder, nor one in place of the file in it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    for folder in (tmp_path / "link", tmp_path / "real"):
        with pytest.raises(InputError, match="cannot write"), lock_folder(folder):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_into_which_nothing_was_written_is_not_left(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "a" / "b" / "p"):
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
    with pytest.raises(InputError, match="cannot write"), lock_folder(tmp_path / "x"):
        pass
