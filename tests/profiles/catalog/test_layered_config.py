"""Shapes of models whose layers differ: counts that were published and that transformers builds."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.layered_config import READ, defaults
from adadecode.profiles.catalog.layered_families import (
    FAMILIES,
    SAME_LAYERS,
    UNCOUNTED,
    WITHOUT_SHAPE,
)
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import (
    find_model,
    measured_record,
    shape_from_config,
    shape_from_record,
)
from adadecode.profiles.errors import ShapeError
from adadecode.sim.sharing.known_keys import KEPT, known_part
from tests.support.published_configs import PUBLISHED
from tests.support.quick import quick_or_slow

AS_BUILT: dict[str, dict[str, Any]] = {
    "EXAONE-4.0-32B": {"sliding_window_pattern": 4},
    "EXAONE-4.0-1.2B": {"layer_types": ["full_attention"] * 30},
    "MiniMax-Text-01": {
        "layer_types": [
            "full_attention" if (i + 1) % 8 == 0 else "linear_attention" for i in range(80)
        ]
    },
}
"""What ``transformers`` wants in the place of how these configs say it."""
AS_BUILT["MiMo-V2-Flash"] = {
    "layer_types": [
        "full_attention" if i % 6 == 5 or i == 0 else "sliding_attention" for i in range(48)
    ],
    "mlp_layer_types": ["dense"] + ["sparse"] * 47,
}
QUICK = (
    *("DeepSeek-V3", "gemma-3n-E2B", "gpt-oss-20b", "Jamba-1.5-Mini", "Kimi-Linear-48B-A3B"),
    *("Llama-4-Maverick", "MiniMax-Text-01", "Nemotron-3-Super-120B", "Qwen3-Next-80B-A3B"),
)
UNBUILT = "DBRX"
"""What it cannot build from its config at all."""


def shape_of(name: str) -> ModelShape:
    return shape_from_config(PUBLISHED[name].config, name)


def built_layers(config: dict[str, Any]) -> tuple[int, dict[int, int]]:
    """Return the parameters of the model that transformers builds, and those of each layer."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = {"kimi_k2": "deepseek_v3"}.get(config["model_type"], config["model_type"])
    left_out = ("model_type", "quantization_config")
    made = CONFIG_MAPPING[kind](**{k: v for k, v in config.items() if k not in left_out})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made.get_text_config())
    layers: Counter[int] = Counter()
    for name, weight in model.named_parameters():
        if found := re.search(r"\b(?:layers|h|blocks)\.(\d+)\.", name):
            layers[int(found.group(1))] += weight.numel()
    return sum(weight.numel() for weight in model.parameters()), dict(layers)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_comes_to_its_published_parameters(name: str) -> None:
    """All within one per cent; those of a token within a sixth, as cards round and count apart."""
    shape, known = shape_of(name), PUBLISHED[name]
    assert shape.total_parameters / 1e9 == pytest.approx(known.total, rel=0.01)
    if known.active is not None:
        assert shape.active_parameters / 1e9 == pytest.approx(known.active, rel=1 / 6)


# Importing some models, transformers still scripts functions as PyTorch no longer likes it.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name", [quick_or_slow(one, quick=QUICK, id=one) for one in PUBLISHED if one != UNBUILT]
)
def test_every_layer_of_a_published_config_is_as_transformers_builds_it(name: str) -> None:
    total, layers = built_layers(PUBLISHED[name].config | AS_BUILT.get(name, {}))
    shape = shape_of(name)
    assert [layer.parameters for layer in shape.each_layer] == list(layers.values())
    assert shape.total_parameters == total


def test_what_configs_leave_out_is_what_transformers_takes() -> None:
    from scripts.catalogue.config_defaults import config_defaults

    found = config_defaults()
    assert {kind: dict(defaults(kind)) for kind in found} == found, (
        "renew it: .venv/bin/python -m scripts.catalogue.config_defaults"
    )


def test_latent_attention_keeps_the_latent_and_one_rotated_key() -> None:
    """DeepSeek-V3: 512 + 64 numbers a position and layer, where 128 heads would take 40,960."""
    layer = shape_of("DeepSeek-V3").each_layer[-1]
    assert (layer.cache, layer.reads) == (576, 576)
    assert layer.products == 128 * (512 + 64 + 512)


def test_a_layer_that_uses_the_keys_of_another_keeps_none() -> None:
    """Gemma 3n: the last ten layers read what earlier ones keep."""
    layers = shape_of("gemma-3n-E2B").each_layer
    assert [layer.cache for layer in layers[19:21]] == [2 * 2 * 256, 0]
    assert {layer.reads for layer in layers} == {2 * 2 * 256}


def test_windows_are_known_by_layer() -> None:
    windows = [layer.window for layer in shape_of("gemma-3-27b").each_layer]
    assert windows[:6] == [1024] * 5 + [None]
    assert shape_of("gemma-3-27b").windows == (1024,)
    assert [layer.window for layer in shape_of("gpt-oss-20b").each_layer][:2] == [128, None]


def test_the_first_layers_of_a_mixture_may_be_dense() -> None:
    experts = [layer.n_experts for layer in shape_of("DeepSeek-V3").each_layer]
    assert experts == [0] * 3 + [256] * 58
    assert Counter(
        layer.n_experts for layer in shape_of("Llama-4-Maverick").each_layer
    ) == {0: 24, 128: 24}  # fmt: skip


def test_a_layer_with_a_state_keeps_no_keys() -> None:
    layers = shape_of("Qwen3-Next-80B-A3B").each_layer
    assert [bool(layer.cache) for layer in layers[:4]] == [False, False, False, True]
    assert [bool(layer.state) for layer in layers[:4]] == [True, True, True, False]


@pytest.mark.parametrize(
    ("name", "packed", "alone"),
    [
        ("gpt-oss-20b", "mxfp4", True),
        ("DeepSeek-V3", "fp8", False),
        ("Qwen3-32B", None, False),
    ],
)
def test_the_format_of_a_checkpoint_is_read(name: str, packed: str | None, alone: bool) -> None:
    shape = shape_of(name)
    assert (shape.packed, shape.packed_experts) == (packed, alone)


@pytest.mark.parametrize(
    ("about", "packed"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "int4-g64"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "torchao", "quant_type": {"default": "Int8WeightOnlyConfig"}}, "int8"),
        ({"quant_method": "aqlm"}, "aqlm"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}
                },
            },
            "int4-g32",
        ),
    ],
)
def test_quantization_configs_name_a_format(about: dict[str, Any], packed: str) -> None:
    config = PUBLISHED["Qwen3-0.6B"].config
    assert shape_from_config(config | {"quantization_config": about}).packed == packed


def test_a_format_that_a_file_beside_the_config_names_is_read(tmp_path: Path) -> None:
    """ModelOpt writes it there."""
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["Qwen3-0.6B"].config))
    about = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(about))
    assert find_model(tmp_path).packed == "nvfp4"


def test_a_shape_comes_back_from_its_record() -> None:
    for name in ("DeepSeek-V3", "gpt-oss-20b", "Nemotron-H-8B", "gemma-3-27b", "Qwen3-32B"):
        shape = shape_of(name)
        record = json.loads(json.dumps(shape.record()))
        assert shape_from_record(record) == shape
        assert len(json.dumps(record)) < 10_000


@pytest.mark.parametrize("kind", sorted(WITHOUT_SHAPE))
def test_a_family_without_a_shape_is_refused_by_its_name(kind: str) -> None:
    with pytest.raises(ShapeError, match=f"a {kind} has no shape here, as "):
        shape_from_config({"model_type": kind})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer_types": ["full_attention"]}, "has 61 layers, its config lists 1 kinds of layers"),
        ({"layer_types": ["moon"] * 61}, "nobody here knows what a layer of kind 'moon' costs"),
        ({"kv_lora_rank": None}, "the config has no kv_lora_rank: add it"),
        ({"num_experts_per_tok": 300}, "256 experts, of which a token uses 300: check both"),
        ({"num_hidden_layers": 5000}, "5000 layers: wanted at most 1000"),
        ({"n_shared_experts": -1}, "n_shared_experts is -1: wanted a whole number"),
        ({"quantization_config": "fp8"}, "quantization_config is 'fp8': wanted the object"),
        ({"hidden_size": None}, "the config has no hidden_size or n_embd"),
    ],
)
def test_a_layered_config_that_says_nonsense_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        shape_from_config(PUBLISHED["DeepSeek-V3"].config | changed)


def test_a_config_within_another_may_leave_out_what_is_usual() -> None:
    """As Gemma 3 does. By itself it may not, as no size is guessed."""
    inner = {"model_type": "gemma3_text", "hidden_size": 2560}
    assert shape_from_config({"text_config": inner}).n_layers == 26
    with pytest.raises(ShapeError, match="no num_hidden_layers"):
        shape_from_config(inner)


def test_a_shared_copy_keeps_all_keys_that_shapes_are_read_from() -> None:
    assert set(READ) <= KEPT["model"]["config"].keys()
    assert FAMILIES


@pytest.mark.parametrize(("kind", "other"), SAME_LAYERS.items())
def test_some_families_have_the_layers_of_another(kind: str, other: str) -> None:
    config = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "moe_intermediate_size": 32,
        "vocab_size": 97,
    }
    one, two = (shape_from_config(config | {"model_type": name}, "x") for name in (kind, other))
    assert one == two


@pytest.mark.parametrize("key", UNCOUNTED)
def test_a_part_that_is_not_counted_is_refused_by_its_name(key: str) -> None:
    """As Kimi K3 has them: better no shape than half of one."""
    with pytest.raises(ShapeError, match=f"its config has {key}, which is not counted here"):
        shape_from_config(PUBLISHED["Kimi-Linear-48B-A3B"].config | {key: 7})


def test_a_pruned_llama_has_blocks_of_its_own() -> None:
    """Puzzle: a block without attention, one with a narrow MLP, one with a matrix instead."""
    blocks = [
        {"attention": {"n_heads_in_group": 4}, "ffn": {"ffn_mult": 2.625}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 5.25}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
    ]
    config = {
        "model_type": "nemotron-nas",
        "hidden_size": 8192,
        "num_hidden_layers": 3,
        "num_attention_heads": 64,
        "vocab_size": 97,
        "block_configs": blocks,
    }
    one, two, three = shape_from_config(config).each_layer
    assert one.shared == 2 * 8192 * (8192 + 16 * 128) + 3 * 8192 * 14336
    assert (one.cache, two.cache, three.cache) == (2 * 16 * 128, 0, 0)
    assert (two.shared, three.shared) == (3 * 8192 * 28672, 8192**2)
    assert [layer.norms // 8192 for layer in (one, two, three)] == [2, 1, 1]
    with pytest.raises(ShapeError, match="block_configs is no list of 3 objects"):
        shape_from_config(config | {"block_configs": blocks[:2]})


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"shared": -1}, "shared of a layer is -1"),
        ({"shared": 1, "window": 0}, "window of a layer is 0"),
        ({"shared": 1, "cache": 1.5}, "cache of a layer is 1.5"),
        ({"shared": 10**16}, "shared of a layer is over"),
        ({"shared": 1, "n_experts": 4}, "4 experts, of which a token uses 0"),
    ],
)
def test_a_layer_of_impossible_numbers_is_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        LayerShape(**numbers)


@pytest.mark.parametrize(
    "layers",
    [3, [3], [{"layers": 0, "shared": 1}], [{"layers": 1}], [{"layers": 1, "shared": 1, "x": 1}]],
)
def test_a_record_of_layers_that_makes_no_sense_is_refused(layers: object) -> None:
    record = shape_of("Qwen3-32B").record()
    with pytest.raises(ShapeError, match="recorded shape"):
        shape_from_record({**record, "layers": layers})


def test_a_shared_copy_keeps_a_measured_shape_whole() -> None:
    record = json.loads(json.dumps(measured_record(shape_of("gemma-3-27b"))))
    assert not {"name", "source"} & record.keys()
    assert known_part(record, KEPT["model"]["measured"]) == record
