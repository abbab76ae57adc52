"""Models that do not fit into free memory are refused by their config, with what would fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading import memory_check
from adadecode.engine.loading.memory_check import Checkpoint, HeadsToLoad, check_checkpoint
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.profiling.execution_options import exits_of, room_for
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.profiles.errors import InputError
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.memory import GIB, RESERVE
from tests.support.heads_files import edit_description
from tests.support.models import tiny_model
from tests.support.saved_model import options, refusal, saved_model

CPU = torch.device("cpu")
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


def claimed(folder: Path, **changes: object) -> Path:
    """A folder with a config and a tokenizer, and no weights."""
    saved_model(folder)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(json.dumps({**LLAMA_8B, **changes}))
    return folder


def free(gib: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: int(gib * GIB))


def test_a_config_tells_how_many_bytes_a_model_takes(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as it has, and keys and values: 2 heads of 16 in 6 layers."""
    size = sum(weight.numel() for weight in tiny_model("llama").parameters()) * 4
    needed = (size + 100 * 2 * 6 * 2 * 16 * 4) / GIB
    free(needed + 1e-8, monkeypatch)
    check_checkpoint(saved, torch.float32, None, CPU, positions=100)
    free(needed - 1e-8, monkeypatch)
    with pytest.raises(InputError, match=r"weights 0\.00, keys and values 0\.00"):
        check_checkpoint(saved, torch.float32, None, CPU, positions=100)


@pytest.mark.parametrize(
    ("dtype", "form", "bytes_"),
    [
        (torch.float32, {}, 2 * 64**2 * 4),
        (torch.bfloat16, {}, 2 * 64**2 * (2 + 4)),
        (torch.float32, {"shortlist": 10}, 2 * 64**2 * 4 + 10 * 64 * 4),
        (torch.bfloat16, {"dtype": "int8"}, 2 * 64**2 * (1 + 4) + 97 * 64),
    ],
)
def test_exit_heads_are_counted(
    saved: Path,
    dtype: torch.dtype,
    form: dict[str, Any],
    bytes_: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a CPU the matrices stay as they were read, where these are not what is multiplied.

    A form adds rows of the LM head.
    """
    weights = sum(weight.numel() for weight in tiny_model("llama").parameters()) * dtype.itemsize
    exits = HeadsToLoad(matrices=2, form=HeadForm(**form))
    needed = (weights + bytes_) / GIB
    free(needed + 1e-9, monkeypatch)
    check_checkpoint(saved, dtype, None, CPU, exits=exits)
    free(needed - 1e-9, monkeypatch)
    with pytest.raises(InputError, match="exit heads"):
        check_checkpoint(saved, dtype, None, CPU, exits=exits)


def test_heads_are_known_by_their_description(tmp_path: Path) -> None:
    """Identities have no matrix; options change the form; a folder that tells nothing has none."""
    none = RecordingOptions()
    model = tiny_model("llama", torch.float32)
    ExitHeads(model, {2: torch.eye(64), 3: None, 4: torch.eye(64)}).save(tmp_path)
    form = {"shortlist": 9, "dtype": "int8"}
    edit_description(tmp_path, lambda found: found.update(form=form))
    assert exits_of(str(tmp_path), none) == HeadsToLoad(
        matrices=2, form=HeadForm(shortlist=9, dtype="int8")
    )
    assert exits_of(str(tmp_path), RecordingOptions(shortlist=0, head_dtype="own")) == HeadsToLoad(
        matrices=2
    )
    assert exits_of("identity:2,4", RecordingOptions(shortlist=20)) == HeadsToLoad(
        form=HeadForm(shortlist=20)
    )
    assert exits_of(str(tmp_path / "nowhere"), none) == HeadsToLoad()
    edit_description(tmp_path, lambda found: found.update(depths="all"))
    assert exits_of(str(tmp_path), none) == HeadsToLoad()


@pytest.mark.parametrize(
    ("graphs", "positions", "room"),
    [("eager", 600, 600), ("cuda", 600, 1024), ("cuda+compile", 5000, 6144), ("cuda", 9, 256)],
)
def test_rooms_of_graphs_are_larger(graphs: str, positions: int, room: int) -> None:
    assert room_for(graphs, positions) == room


@pytest.mark.parametrize(
    ("gib", "dtype", "ways"),
    [
        (20.0, torch.float32, "take --dtype bfloat16 or --weights int8"),
        (14.0, torch.float32, "take --weights int8"),
        (9.5, torch.float32, "take --dtype bfloat16 --weights int8"),
        (9.5, torch.bfloat16, "take --weights int8"),
        (4.0, torch.bfloat16, "take a machine with more memory"),
    ],
)
def test_what_would_fit_is_named(
    gib: float, dtype: torch.dtype, ways: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 billion parameters: 30 GiB in FP32, 15 in BF16, of which 13 are the layers' matrices."""
    free(gib, monkeypatch)
    with pytest.raises(InputError) as raised:
        check_checkpoint(claimed(tmp_path), dtype, None, CPU)
    assert str(raised.value).endswith(ways)


def test_a_text_that_is_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """131072 bytes a position in BF16."""
    free(16.0, monkeypatch)
    with pytest.raises(
        InputError,
        match=r"or shorter prompts and fewer --max-new-tokens, 8\d\d\d positions together",
    ):
        check_checkpoint(claimed(tmp_path), torch.bfloat16, None, CPU, positions=20_000)


def test_packed_checkpoints_are_counted_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a format that nobody here knows, nothing is said."""
    free(7.0, monkeypatch)
    check_checkpoint(
        claimed(tmp_path / "a", quantization_config={"quant_method": "gptq", "bits": 4}),
        torch.bfloat16,
        None,
        CPU,
    )
    check_checkpoint(
        claimed(tmp_path / "b", quantization_config={"quant_method": "hqq"}),
        torch.bfloat16,
        None,
        CPU,
    )


@pytest.mark.parametrize(
    "config", ["{", '{"model_type": "unheard-of"}', '{"model_type": "llama", "hidden_size": 7}']
)
def test_a_config_that_tells_too_little_is_let_pass(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading it says what is wrong."""
    free(0.0, monkeypatch)
    folder = claimed(tmp_path)
    (folder / "config.json").write_text(config)
    check_checkpoint(folder, torch.float32, None, CPU)
    with pytest.raises(InputError, match=r"cannot be loaded|no tokenizer|wanted an object of JSON"):
        load_model(folder, "float32", "cpu")


def test_where_nothing_tells_what_is_free_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: None)
    check_checkpoint(claimed(tmp_path), torch.float32, None, CPU)


def test_a_gpu_keeps_a_reserve_and_has_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packing of 4 bits, the host, more GPUs."""
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: 40 * GIB)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    model = Checkpoint(
        name="m",
        matrices=7 * 10**9,
        rest=10**9,
        per_position=1000,
        dtype=torch.bfloat16,
        weights=None,
        positions=10,
        device=torch.device("cuda"),
    )
    assert model.total == 16e9 + 20_000 + RESERVE
    assert list(model.ways(12 * 10**9)) == [
        "--weights int8",
        "--weights int4",
        "--device cpu",
        "--device-map auto",
    ]


def test_a_recording_of_a_huge_model_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """405 billion parameters on any machine that tests run on; there is no weight to read."""
    huge = claimed(
        tmp_path / "model",
        hidden_size=16384,
        intermediate_size=53248,
        num_hidden_layers=1260,
        num_attention_heads=128,
    )
    message = refusal([*options(huge, tmp_path / "p"), "--device", "cpu"])
    assert "in float32 takes" in message
    assert "are free on cpu: take a machine with more memory" in message
    assert not (tmp_path / "p").exists()


def test_a_recording_counts_its_longest_text(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third word is the last of the prompt, and 6 tokens follow."""
    seen: list[int] = []

    def watch(*args: object, positions: int, **rest: object) -> None:
        seen.append(positions)
        raise InputError("enough")

    monkeypatch.setattr("adadecode.engine.loading.model_loader.check_checkpoint", watch)
    assert refusal(options(saved, tmp_path / "p")) == "enough"
    assert seen == [9]
