"""Checkpoints with packed weights run unpacked, and say so, or are refused by their own name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adadecode.engine.loading.memory_check import check_checkpoint
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.loading.model_origin import limitations_of, origin_of
from adadecode.profiles.errors import InputError
from tests.support.saved_model import saved_model

BLOCK = 16
FP8 = {
    "quant_method": "fp8",
    "activation_scheme": "dynamic",
    "weight_block_size": [BLOCK, BLOCK],
    "fmt": "e4m3",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


def says(folder: Path, packing: dict[str, Any] | None) -> Path:
    """Let the config of a folder say how weights are packed."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("quantization_config", None)
    path.write_text(
        json.dumps(config if packing is None else config | {"quantization_config": packing})
    )
    return folder


def pack_fp8(folder: Path, *, scales: bool = True) -> dict[str, torch.Tensor]:
    """Pack a folder's matrices in blocks of 8-bit floats, and return what they then are."""
    packed, wanted = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        packed[name] = wanted[name] = weight
        if "_proj.weight" in name:
            rows, width = (size // BLOCK for size in weight.shape)
            tops = weight.abs().reshape(rows, BLOCK, width, BLOCK).amax((1, 3)) / 448
            spread = tops.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
            packed[name] = (weight / spread).to(torch.float8_e4m3fn)
            wanted[name] = packed[name].float() * spread
            if scales:
                packed[f"{name}_scale_inv"] = tops
    save_file(packed, folder / "model.safetensors", metadata={"format": "pt"})
    return wanted


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "m"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes with the packed weights")
def test_8_bit_floats_are_unpacked_on_a_cpu_and_it_says_so(folder: Path) -> None:
    wanted = pack_fp8(says(folder, FP8))
    model, _ = load_model(folder, "float32", "cpu")
    found = model.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in wanted.items())
    assert origin_of(model) == {"format": "safetensors", "packed_as": "fp8"}
    assert limitations_of(model)[0].startswith("weights unpacked from a checkpoint of format fp8")


def test_8_bit_floats_without_their_scales_are_refused(folder: Path) -> None:
    """They would be taken for weights as they are, hundreds of times too large."""
    pack_fp8(says(folder, FP8), scales=False)
    with pytest.raises(
        InputError, match=r"model\.layers\.0.* and 41 more of .* are 8-bit floats without"
    ):
        load_model(folder, "float32", "cpu")


def test_packed_weights_whose_config_does_not_say_so_are_refused(folder: Path) -> None:
    pack_fp8(says(folder, None))
    with pytest.raises(
        InputError, match=r"weight_scale_inv and 41 more tensors that unpack others, but its config"
    ):
        load_model(folder, "float32", "cpu")


def test_the_memory_of_unpacked_weights_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU they take what the model's dtype takes, not a byte each."""
    pack_fp8(says(folder, FP8))
    whole = sum(weight.numel() for weight in load_file(folder / "model.safetensors").values()) * 4
    monkeypatch.setattr(
        "adadecode.engine.loading.memory_check.free_bytes", lambda _: int(whole * 0.9)
    )
    with pytest.raises(InputError, match=r"takes .* GiB .* are free on cpu"):
        check_checkpoint(folder, torch.float32, None, torch.device("cpu"))


COMPRESSED = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}
    },
}


@pytest.mark.parametrize(
    ("packing", "library"),
    [
        (COMPRESSED, "compressed_tensors"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "optimum"),
        ({"quant_method": "awq", "bits": 4, "group_size": 32}, "gptqmodel"),
        ({"quant_method": "hqq"}, "hqq"),
    ],
    ids=lambda value: value["quant_method"] if isinstance(value, dict) else "",
)
def test_a_format_whose_library_is_not_here_is_named(
    folder: Path, packing: dict[str, Any], library: str
) -> None:
    pytest.importorskip("transformers")
    try:
        __import__(library)
    except ImportError:
        pass
    else:
        pytest.skip(f"{library} is here")
    says(folder, packing)
    name = packing["quant_method"]
    with pytest.raises(InputError, match=rf"m, packed as {name}, cannot be loaded: ") as refused:
        load_model(folder, "float32", "cpu")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", ["modelopt", "novel", None])
def test_a_format_that_nobody_unpacks_is_refused_by_its_name(
    folder: Path, method: str | None
) -> None:
    """The library skips it, and takes packed numbers for weights."""
    says(folder, {"quant_method": method} if method else {"bits": 4})
    with pytest.raises(
        InputError, match=rf"says that weights are packed as {method}, which transformers does not"
    ):
        load_model(folder, "float32", "cpu")
