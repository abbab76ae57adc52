"""Shapes of models: counts that match what was published and what transformers builds, and configs
that say too little.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.catalog.models import (
    ModelShape,
    find_model,
    shape_from_config,
    shape_from_record,
    shapes,
)
from adadecode.profiles.errors import ShapeError

# Parameters in the weights of their repositories, one model for each way of being built: exact,
# where the catalogue allows 0.5 %.
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-70b": 70_553_706_496,  # keys shared
    "llama-3.2-1b": 1_235_814_400,  # embeddings tied
    "smollm2-135m": 134_515_008,
    "qwen-72b": 72_287_920_128,  # biases
    "qwen2.5-7b": 7_615_616_512,  # biases, keys shared
    "mixtral-8x7b": 46_702_792_704,  # experts and routers
    "phi-2": 2_779_683_840
    - 51_200,  # one norm, two matrices, biases everywhere; that of the LM head is not counted
}
SMALL = """[small]
n_layers = 2
hidden_size = 8
intermediate_size = 16
n_heads = 2
vocab_size = 32
source = 'mine'
"""
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 128,
    "vocab_size": 97,
}
# What each model_type needs in addition to LLAMA (or GPT2). Other keys take the defaults of
# transformers.
BUILT: list[dict[str, Any]] = [
    {"model_type": "llama"},
    {
        "model_type": "llama",
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 24,
        "tie_word_embeddings": True,
    },
    {"model_type": "mistral"},
    {"model_type": "mixtral", "num_local_experts": 4},
    {"model_type": "qwen2"},
    {"model_type": "qwen3"},
    {
        "model_type": "qwen3_moe",
        "moe_intermediate_size": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    },
    {"model_type": "gemma"},
    {"model_type": "gemma2"},
    {"model_type": "phi3", "pad_token_id": 0},
    {"model_type": "olmo2"},
    {"model_type": "granite"},
    {"model_type": "smollm3", "pad_token_id": 0},
    {"model_type": "starcoder2"},
    {"model_type": "gpt_neox"},
    {"model_type": "falcon"},
    {"model_type": "falcon", "multi_query": False, "parallel_attn": False, "bias": True},
    {"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 2},
    {**GPT2},
    {**GPT2, "n_inner": 80, "tie_word_embeddings": False},
    {**GPT2, "model_type": "gpt_bigcode"},
    {**GPT2, "model_type": "gpt_bigcode", "multi_query": False},
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_count_exactly(name: str) -> None:
    assert find_model(name).total_parameters == PUBLISHED[name]


def test_a_published_count_that_is_off_by_more_than_half_a_percent_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.toml"
    for near in (1824, 1832, 1841.0):
        file.write_text(f"{SMALL}parameters = {near}\n")
        assert find_model(file).total_parameters == 1832
    for wrong in (1822, 1842, 10**400):
        file.write_text(f"{SMALL}parameters = {wrong}\n")
        with pytest.raises(ShapeError, match="small"):
            find_model(file)


def test_every_model_has_a_source_to_look_up() -> None:
    assert all("https://" in shape.source for shape in shapes().values())


def test_a_layer_splits_into_attention_mlp_and_norms() -> None:
    shape = find_model("llama-3.1-8b")
    assert shape.attention_parameters == 2 * 4096 * 4096 + 2 * 4096 * 1024
    assert shape.mlp_parameters == 3 * 4096 * 14336
    assert shape.layer_parameters == shape.attention_parameters + shape.mlp_parameters + 2 * 4096
    assert shape.head_parameters == 4096**2


def test_a_tied_head_is_read_but_not_stored_twice() -> None:
    tied = find_model("llama-3.2-1b")
    assert tied.lm_head_parameters == tied.embedding_parameters
    assert tied.total_parameters == tied.embedding_parameters + 16 * tied.layer_parameters + 2048


def test_the_experts_that_tokens_touch_together() -> None:
    layer = find_model("mixtral-8x7b").alike
    assert [layer.touched(n) for n in (0, 1, 2)] == [0, 2, 3.5]
    assert layer.touched(1000) == pytest.approx(8)
    assert find_model("llama-2-7b").alike.touched(64) == 0


# Importing gpt_bigcode, transformers still scripts a function as PyTorch no longer likes it.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "different", BUILT, ids=lambda config: "-".join(f"{value}" for value in config.values())
)
def test_a_config_counts_what_transformers_builds(different: dict[str, Any]) -> None:
    """Both the whole config, as a profile's manifest keeps it, and only what differs from the
    defaults.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    given = different if "n_embd" in different else LLAMA | different
    config = CONFIG_MAPPING[given["model_type"]](
        **{key: value for key, value in given.items() if key != "model_type"}
    )
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config).num_parameters()
    assert shape_from_config(given).total_parameters == built
    assert (
        shape_from_config(
            json.loads(json.dumps(config.to_diff_dict(), default=str))
        ).total_parameters
        == built
    )


def test_qwen_counts_both_halves_of_its_mlp_and_shares_no_keys() -> None:
    config = {
        "model_type": "qwen",
        "hidden_size": 8192,
        "intermediate_size": 49152,
        "kv_channels": 128,
        "no_bias": True,
        "vocab_size": 152064,
    }
    shape = shape_from_config(
        config | {"num_attention_heads": 64, "num_hidden_layers": 80, "tie_word_embeddings": False}
    )
    assert shape.total_parameters == PUBLISHED["qwen-72b"]
    assert shape.n_kv_heads == 64


def test_a_window_counts_only_where_every_layer_slides() -> None:
    assert shape_from_config(LLAMA | {"model_type": "mistral"}).sliding_window == 4096
    assert (
        shape_from_config(LLAMA | {"model_type": "mistral", "sliding_window": None}).sliding_window
        is None
    )
    assert (
        shape_from_config(LLAMA | {"model_type": "gemma2", "sliding_window": 8}).sliding_window
        is None
    )
    mixed = {
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "sliding_window": 8,
    }
    assert shape_from_config(LLAMA | {"model_type": "qwen2"} | mixed).sliding_window is None


def test_a_hub_name_is_recognised() -> None:
    assert find_model("codellama/CodeLlama-34b-Instruct-hf") == find_model("codellama-34b")
    assert find_model("meta-llama/Meta-Llama-3-8B").name == "llama-3-8b"


def test_a_config_file_its_folder_and_its_dict_are_the_same_model(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA))
    assert find_model(file) == find_model(tmp_path)
    assert find_model(file).total_parameters == find_model(LLAMA).total_parameters


def test_a_file_of_ones_own_shapes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL + SMALL.replace("small", "'small.er'") + "n_kv_heads = 1\n")
    assert find_model(f"{file}:small.er").n_kv_heads == 1
    with pytest.raises(
        ShapeError, match=r"2 models in .*: give .*mine.toml:small or .*mine.toml:small.er"
    ):
        find_model(file)
    file.write_text(f"{SMALL}parameters = 7e9\n")
    with pytest.raises(
        ShapeError,
        match=r"small comes to 1832 parameters, published are 7000000000.0: check its sizes",
    ):
        find_model(file)
    file.write_text("")
    with pytest.raises(ShapeError, match=r"no model in .*mine.toml: wanted one or more tables"):
        find_model(file)
    file.write_text("[small]\nn_layers = 2\n")
    with pytest.raises(
        ShapeError, match="small lacks hidden_size, intermediate_size, n_heads, source, vocab_size"
    ):
        find_model(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "",
            "parameters = 0\n",
            "small: parameters is 0: wanted a finite number above 0, or leave it out",
        ),
        ("", "parameters = '7B'\n", "small: parameters is '7B': wanted a finite number"),
        ("", "parameters = true\n", "small: parameters is True: wanted"),
        ("", "parameters = nan\n", "small: parameters is nan: wanted"),
        ("", "tied_embeddings = 'no'\n", "small: tied_embeddings is 'no': wanted true or false"),
        ("", "qkv_bias = 3\n", "small: qkv_bias is 3: wanted true or false"),
        ("", "head_dim = 0\n", "small: head_dim is 0: wanted a whole number, 1 or more"),
        (
            "source = 'mine'",
            "source = 3",
            "small: source is 3: wanted a text that others can look up",
        ),
        ("source = 'mine'", "source = ' '", "small: source is ' ': wanted a text"),
        ("n_heads = 2", "n_heads = '2'", "small: n_heads is '2': wanted a whole number"),
        ("[small]", "[small", "wanted TOML in .*mine.toml"),
        ("", "max_positions = 10000000000\n", "small: max_positions is over 1000000000"),
        ("", f"head_dim = 1{'0' * 400}\n", "small: head_dim is over"),
        ("", "head_dim = 2024-01-01\n", "small: head_dim is .*: wanted a whole number"),
        ("n_layers = 2", "n_layers = 20000", "small: 20000 layers and .*: wanted at most 1000 "),
    ],
)
def test_a_file_that_says_it_wrong_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL.replace(old, new) if old else SMALL + new)
    with pytest.raises(ShapeError, match=message):
        find_model(file)


def test_a_file_of_shapes_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ShapeError,
        match=r"no file .*gone.toml: give the name of a model of the catalogue, the path of its "
        "config.json, or",
    ):
        find_model(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"norm_bias": 1}, "norm_bias is 1: wanted true or false"),
        ({"learned_positions": "yes"}, "learned_positions is 'yes': wanted true or false"),
        ({"source": None}, "source is None: wanted a text"),
        ({"hidden_size": 4096.0}, "hidden_size is 4096.0: wanted a whole number"),
        ({"n_layers": True}, "n_layers is True: wanted a whole number"),
    ],
)
def test_a_shape_of_the_wrong_kind_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        ModelShape(**vars(find_model("llama-2-7b")) | changed)


def test_no_size_of_zero_becomes_a_default_and_null_does() -> None:
    for key in ("num_key_value_heads", "head_dim", "num_local_experts", "num_experts_per_tok"):
        with pytest.raises(ShapeError, match=f"{key} is 0: wanted a whole number, 1 or more"):
            shape_from_config(LLAMA | {key: 0})
    for config, key in ((GPT2, "n_inner"), (LLAMA | {"model_type": "falcon"}, "ffn_hidden_size")):
        with pytest.raises(ShapeError, match=f"{key} is 0: wanted a whole number"):
            shape_from_config(config | {key: 0})
    nulls = shape_from_config(
        LLAMA
        | {
            "num_key_value_heads": None,
            "num_local_experts": None,
            "text_config": None,
            "mlp_bias": None,
        }
    )
    assert (nulls.n_kv_heads, nulls.n_experts, nulls.mlp_bias) == (4, 1, False)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {key: value for key, value in LLAMA.items() if key != "hidden_size"},
            "the config has no hidden_size or n_embd: add it",
        ),
        (LLAMA | {"num_hidden_layers": None}, "the config has no num_hidden_layers or n_layer"),
        (LLAMA | {"vocab_size": -1}, "vocab_size is -1: wanted a whole number, 1 or more"),
        (LLAMA | {"num_attention_heads": 5}, "hidden_size 64 is no multiple of n_heads 5"),
        (LLAMA | {"num_key_value_heads": 3}, "n_heads 4 is no multiple of n_kv_heads 3"),
        (
            LLAMA | {"model_type": "llama5"},
            "model_type 'llama5' is none whose layers are known here, the nearest are llama",
        ),
        ({"hidden_size": 64}, "its config has no model_type, so its layers are unknown"),
        (
            LLAMA | {"model_type": "qwen3_moe", "moe_intermediate_size": 32, "mlp_only_layers": 0},
            "mlp_only_layers is 0: wanted a list of whole numbers",
        ),
        (LLAMA | {"decoder_sparse_step": 2}, "wanted all layers alike"),
        (LLAMA | {"decoder_sparse_step": 0}, "decoder_sparse_step is 0: wanted a whole number"),
        (
            LLAMA | {"model_type": ["llama"]},
            r"model_type \['llama'\] is none whose layers are known here",
        ),
        ({"text_config": [LLAMA]}, "text_config is .*: wanted the object of a config.json"),
        (
            LLAMA | {"model_type": "qwen", "intermediate_size": "96"},
            "intermediate_size is '96': wanted a whole number",
        ),
        (LLAMA | {"model_type": "qwen", "no_bias": False}, "wanted no_bias = true"),
        (LLAMA | {"intermediate_size": 96.5}, "intermediate_size is 96.5: wanted a whole number"),
        (
            LLAMA
            | {
                "model_type": "falcon",
                "new_decoder_architecture": True,
                "num_ln_in_parallel_attn": "two",
            },
            "attn is 'two': wanted",
        ),
        (
            LLAMA | {"model_type": "falcon", "parallel_attn": "no"},
            "parallel_attn is 'no': wanted true or false",
        ),
        (
            LLAMA | {"tie_word_embeddings": "false"},
            "tie_word_embeddings is 'false': wanted true or false",
        ),
        (LLAMA | {"attention_bias": 1}, "attention_bias is 1: wanted true or false"),
        (LLAMA | {"layer_types": 3}, "layer_types is 3: wanted a list with a text for every layer"),
        (
            LLAMA | {"layer_types": [["full_attention"]]},
            "layer_types is .*: wanted a list with a text for every layer",
        ),
        (
            LLAMA | {"model_type": "mistral", "sliding_window": "4k"},
            "sliding_window is '4k': wanted a whole number",
        ),
    ],
)
def test_a_config_that_says_too_little_or_nonsense_is_refused(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        shape_from_config(config)


def test_the_engine_s_name_of_a_model_is_one_of_the_catalogue() -> None:
    """As are its name on the hub and that in the catalogue."""
    names = ("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m")
    assert {find_model(name) for name in names} == {shapes()["smollm2-135m"]}


def test_an_unknown_model_is_an_error_with_the_nearest_names() -> None:
    with pytest.raises(
        ShapeError,
        match=r"no model 'llama-3.1-9b' in the catalogue, the nearest are llama-3.1-8b.*"
        r"`adadecode-sim models` lists them; for another one give the path of its config.json",
    ):
        find_model("llama-3.1-9b")


def test_a_config_that_is_not_there_or_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(
        ShapeError,
        match=r"no file .*config.json: give the path of a model's config.json, or a name that",
    ):
        find_model(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ShapeError, match=r"holds list, wanted the object of a config.json"):
        find_model(tmp_path)


def test_impossible_experts_are_refused() -> None:
    with pytest.raises(ShapeError, match="experts_per_token 9 of n_experts 8"):
        ModelShape(**vars(find_model("mixtral-8x7b")) | {"experts_per_token": 9})


@pytest.mark.parametrize("name", ["config.json", "mine.toml"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ShapeError, match="wanted a regular file, got the pipe"):
        find_model(tmp_path / name)


@pytest.mark.parametrize("text", ["[" * 5000, '{"a": ' * 5000, "\xff", '{"a": 1, "a": 2}', "[]"])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ShapeError, match=r"config\.json"):
        find_model(tmp_path)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for name in ("x" * 5000, "x" * 5000 + ".json", "a\0b"):
        with pytest.raises(ShapeError, match=r"no model|no file"):
            find_model(name)


def test_a_recorded_shape_is_checked_like_any_other() -> None:
    """A manifest may hold anything under its keys."""
    shape = vars(find_model("llama-2-7b"))
    assert shape_from_record(shape) == find_model("llama-2-7b")
    for wrong, message in (
        (shape | {"colour": 1}, "missing or unknown: colour"),
        ({"name": "x"}, "missing or unknown: head_dim"),
        (shape | {"name": 3}, "the name of a model is 3"),
        (shape | {"n_heads": "32"}, "n_heads is '32'"),
    ):
        with pytest.raises(ShapeError, match=message):
            shape_from_record(wrong)
