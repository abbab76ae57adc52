"""A name on the hub: what happens without a network, within a bound, and in one sentence."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import constants

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading import hub
from adadecode.engine.loading.hub import from_here, quiet_hub
from adadecode.engine.loading.model_loader import load_config, load_model, load_tokenizer
from adadecode.profiles.errors import HeadsError, InputError
from tests.support.gguf_files import llama_model, write_gguf
from tests.support.models import tiny_model
from tests.support.saved_model import saved_model

CLOSED = "http://127.0.0.1:9"
"""The port that discards what comes, where nothing listens."""

BOUND_S = 90
"""Seconds that a command may take, most of them to load torch; before, the hub alone took 105."""


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let each test ask by itself, nowhere by default, with an empty cache."""
    monkeypatch.setattr(hub, "_answers", {})
    monkeypatch.setattr(hub, "_told", set())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", CLOSED)


@contextmanager
def silent_server() -> Iterator[tuple[str, list[int]]]:
    """A server that accepts and never answers; yields its address, and the ports that came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        came: list[int] = []
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, (_, port) = server.accept()
                except OSError:
                    return
                came.append(port)
                kept.append(connection)

        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        for connection in kept:
            connection.close()
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering_server(status: int, code: str = "") -> Iterator[str]:
    """A server that answers everything with one status; yields its address."""

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = _answer  # noqa: N815 -- the names that the library calls

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def cached_copy(cache: Path, model: Path, name: str = "owner/name") -> None:
    """Put a model into a cache as the library keeps it."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    shutil.copytree(model, folder / "snapshots" / ("0" * 40))


LOADERS: list[Callable[[str], Any]] = [load_tokenizer, load_config, load_model]


@pytest.mark.parametrize("load", LOADERS)
def test_without_a_network_a_missing_model_is_one_sentence(load: Callable[[str], Any]) -> None:
    with pytest.raises(
        InputError,
        match=rf"^no folder owner/name is here, and no copy of it in the cache .*, and the hub at "
        rf"{CLOSED} does not answer .*: give a folder, or connect to the network$",
    ):
        load("owner/name")


def test_a_hub_that_never_answers_is_left_after_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once for all files of a model, and this test ends."""
    monkeypatch.setattr(hub, "ANSWER_S", 60.0)
    monkeypatch.setattr(hub, "LONGEST_S", 0.3)
    with silent_server() as (address, came):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        for load in LOADERS:
            with pytest.raises(InputError, match="does not answer"):
                load("owner/name")
        assert len(came) == 1


def test_the_request_itself_has_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ANSWER_S", 0.3)
    monkeypatch.setattr(hub, "LONGEST_S", 60.0)
    with silent_server() as (address, _):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(InputError, match="does not answer"):
            from_here("owner/name")


def test_a_cached_copy_is_taken_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One for all files of the model."""
    cached_copy(tmp_path / "cache", saved_model(tmp_path / "model"))
    with pytest.warns(UserWarning, match="does not answer: the cached copy of owner/name is taken"):
        assert from_here("owner/name")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_here("owner/name")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(hub, "_told", set())
        assert from_here("owner/name")


def test_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with silent_server() as (address, came):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(
            InputError, match=r"no copy of it in the cache .*; HF_HUB_OFFLINE is set: give a folder"
        ):
            load_tokenizer("owner/name")
        assert came == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/at/all", "no folder /nowhere/at/all: give the folder of a model, or a name"),
        ("two words", "no folder two words: give"),
        ("a/b/c", "no folder a/b/c: give"),
        ("", "no folder '': give"),
        (__file__, "wanted the folder of a model, got the file .*: give its folder"),
    ],
)
def test_what_is_no_name_is_not_asked_for(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_tokenizer(name)
    assert hub._answers == {}


def test_a_hub_that_is_out_of_order_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering_server(503) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(InputError, match="does not answer"):
            from_here("owner/name")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "the hub has no owner/name, or it is private and HF_TOKEN lacks a"),
        (403, "GatedRepo", "access to owner/name must be granted on its page, and HF_TOKEN set"),
        (404, "", "the hub has no owner/name|not all of its files|HTTP status 404"),
    ],
)
def test_what_the_hub_answers_is_said_in_words(
    tmp_path: Path, status: int, code: str, message: str
) -> None:
    """Nothing of what its library says."""
    with answering_server(status, code) as address:
        done = loaded_elsewhere(tmp_path, address)
    assert re.search(message, done.stdout), (done.stdout, done.stderr)
    assert done.stdout.startswith("InputError no tokenizer for owner/name: ")
    assert "Request ID" not in done.stdout + done.stderr


def loaded_elsewhere(folder: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    """Load owner/name in a process of its own, whose library knows no other hub."""
    program = (
        "from adadecode.engine.loading.model_loader import load_model\n"
        "try:\n"
        "    model, tokenizer = load_model('owner/name')\n"
        "    print(len(tokenizer), model.config.num_hidden_layers)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def test_heads_of_the_hub_are_one_sentence_too() -> None:
    with pytest.raises(HeadsError, match=r"no folder owner/name is here, .* does not answer"):
        ExitHeads.from_pretrained("owner/name", model=tiny_model("llama"))


COMMANDS = {
    "profile": "adadecode-profile --model owner/name --heads identity:2 --prompts P --out OUT",
    "draft": "adadecode-profile --model MODEL --heads identity:2 --prompts P --out OUT "
    "--baselines draft --draft-model owner/name",
    "train": "adadecode-train --model owner/name --prompts P --out OUT",
    "flips": "adadecode-flips --model owner/name --heads identity:2 --prompts P",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_end_within_a_bound(tmp_path: Path, command: str) -> None:
    """With a hub that accepts and never answers: exit code 2, one line, no library's text."""
    model = saved_model(tmp_path / "model")
    words = {"MODEL": str(model), "P": str(model / "prompts.jsonl"), "OUT": str(tmp_path / "out")}
    program, *arguments = [words.get(word, word) for word in COMMANDS[command].split()]
    with silent_server() as (address, came):
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *arguments],
            env=os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
        assert len(came) == 1
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: no folder owner/name is here, and no copy of it in the cache")
    assert "Errno" not in done.stderr
    assert "Retrying" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_model_is_loaded_whole_from_its_cached_copy(tmp_path: Path) -> None:
    """In a process of its own, which has no other way to it."""
    cached_copy(tmp_path / "home" / "hub", saved_model(tmp_path / "model"))
    done = loaded_elsewhere(tmp_path, CLOSED)
    assert done.stdout.split() == ["97", "6"], done.stderr
    assert "does not answer: the cached copy of owner/name is taken" in done.stderr
    assert "Retrying" not in done.stderr


def test_two_threads_that_load_leave_the_log_as_it_was() -> None:
    """Also where the first that began ends first."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    first, second = quiet_hub.needed(), quiet_hub.needed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.level == logging.CRITICAL
    second.__exit__(None, None, None)
    assert logger.level == level


def test_a_gguf_file_of_a_name_on_the_hub_is_read_from_its_cached_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository of GGUF files has no config by which its copy would be known."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("adadecode.engine.loading.hub.is_offline_mode", lambda: True)
    kept = tmp_path / "files"
    kept.mkdir()
    write_gguf(kept / "tiny.gguf", llama_model())
    cached_copy(tmp_path / "cache", kept)
    model, _ = load_model("owner/name::tiny.gguf", "float32", "cpu")
    assert model.config.num_hidden_layers == 6
    with pytest.raises(InputError, match=r"no folder owner/name is here, and no copy of it in the"):
        load_model("owner/name::other.gguf", "float32", "cpu")
