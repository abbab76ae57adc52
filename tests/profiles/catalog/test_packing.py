"""What a quantised checkpoint leaves as it was, and formats that have no name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.catalog.models import shape_from_config
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from tests.support.published_configs import PUBLISHED
from tests.support.sim_command import run, run_json

PRODUCTS = ("q_proj", "k_proj", "v_proj", "o_proj")


def packed_experts(name: str, kept: list[str], key: str = "ignore", **about: Any) -> bool:
    """Return whether experts alone count as packed in a published model that keeps some modules."""
    quantised = {"quant_method": "fp8", **about, key: kept}
    shape = shape_from_config(PUBLISHED[name].config | {"quantization_config": quantised})
    assert shape.packed == "fp8"
    return shape.packed_experts


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (  # some attentions of a dense model, as the FP8 files of Llama-3.1-405B name them
            "Llama-3.2-3B",
            [f"model.layers.{i}.self_attn.{one}" for i in (0, 27) for one in PRODUCTS],
        ),
        ("Llama-3.2-3B", ["model.layers.*.self_attn"]),  # no experts: nothing would be packed
        (  # attention of the part that sees images
            "Qwen3-30B-A3B",
            ["lm_head", *(f"model.visual.blocks.{i}.attn.qkv" for i in range(48))],
        ),
        (  # small parts of linear attention, as the FP8 files of Qwen3-Next name them
            "Qwen3-Next-80B-A3B",
            [
                *(f"model.layers.{i}.linear_attn.conv1d" for i in range(48) if i % 4 != 3),
                *(f"model.layers.{i}.linear_attn.in_proj_ba" for i in range(48) if i % 4 != 3),
            ],
        ),
        ("Qwen3-Next-80B-A3B", ["re:.*self_attn.*"]),  # linear attention is packed
        (
            "Qwen3-30B-A3B",
            [f"model.layers.{i}.self_attn.{one}" for i in range(47) for one in PRODUCTS],
        ),
        ("Qwen3-30B-A3B", [f"model.layers.{i}.self_attn.q_proj" for i in range(48)]),
        ("Qwen3-30B-A3B", [f"model.layers.{i}.post_attention_layernorm" for i in range(48)]),
        ("Qwen3-30B-A3B", ["re:.*self_attn.k_norm"]),
    ],
)
def test_attention_counts_as_packed_unless_all_of_it_is_named(name: str, kept: list[str]) -> None:
    assert not packed_experts(name, kept)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Qwen3-30B-A3B", ["lm_head", "model.layers.*.self_attn"]),
        ("Qwen3-30B-A3B", ["re:.*self_attn.*", "lm_head"]),
        ("Qwen3-30B-A3B", [r"re:.*\.self_attn\.(q|k|v|o)_proj$"]),
        (
            "Qwen3-30B-A3B",
            [f"model.layers.{i}.self_attn.{one}" for i in range(48) for one in PRODUCTS],
        ),
        ("DeepSeek-V3", [f"model.layers.{i}.self_attn*" for i in range(61)]),
        ("Qwen3-Next-80B-A3B", ["re:.*self_attn.*", "re:.*linear_attn.*"]),
        ("Qwen3-Next-80B-A3B", ["re:.*attn.*"]),
    ],
)
def test_experts_alone_are_packed_where_all_attention_is_named(name: str, kept: list[str]) -> None:
    assert packed_experts(name, kept)
    assert packed_experts(name, kept, "modules_to_not_convert")


@pytest.mark.parametrize("kept", [None, 3, {}, [3, None, ["attn"]], "lm_head", ["re:(a+)+attn$["]])
def test_a_list_of_nonsense_leaves_nothing_out(kept: Any) -> None:
    assert not packed_experts("Llama-3.2-3B", kept)


def _groups(*weights: dict[str, Any]) -> dict[str, Any]:
    named = {f"group_{i}": {"weights": one} for i, one in enumerate(weights)}
    return {"quant_method": "compressed-tensors", "config_groups": named}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, "int3"),
        ({"quant_method": "gptq"}, "integers of an unknown number of bits"),
        ({"quant_method": "awq", "bits": "four"}, "integers of 'four' bits"),
        (
            _groups({"num_bits": 8, "type": "float"}, {"num_bits": 4, "type": "int"}),
            "fp8 and int4",
        ),
        (_groups({"type": "float", "group_size": 32}), "floats of an unknown number of bits"),
        (_groups({"num_bits": 4, "type": "float", "group_size": [1]}), "floats of 4 bits"),
        ({"quant_method": "aqlm"}, "aqlm"),
    ],
)
def test_a_format_that_is_not_counted_is_named_with_its_remedy(
    about: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(PUBLISHED["Qwen3-0.6B"].config | {"quantization_config": about}))
    assert run("memory", path, "--device", "h100-sxm") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"packs weights as {words}, which is not counted here" in told
    assert str(path.parent.name) in told
    assert f"name the nearest with --dtype, one of {', '.join(WEIGHT_BYTES)}" in told
    arguments = ("memory", path, "--device", "h100-sxm", "--dtype", "int4", "--json")
    assert run_json(capsys, *arguments)["answers"][0]["fits"]
