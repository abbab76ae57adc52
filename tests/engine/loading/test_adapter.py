"""PEFT adapters are merged into the layers of their model, or refused by name."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from adadecode.engine import AdaDecoder, ExitHeads
from adadecode.engine.loading.model_loader import layers_of, load_model, load_tokenizer
from adadecode.engine.loading.model_origin import limitations_of, origin_of
from adadecode.profiles.errors import InputError
from tests.support.models import tiny_model
from tests.support.saved_model import saved_model

IDS = torch.tensor([[10, 11, 12, 13]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("base"))


def plain(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def save_adapter(base: Path, folder: Path, config: Any) -> torch.Tensor:
    """Save a random adapter, and return the logits of the model under it."""
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        adapted = peft.get_peft_model(plain(base), config).eval()
    for name, weight in adapted.named_parameters():
        if "lora_" in name or "ia3" in name:
            torch.nn.init.normal_(weight, 1.0 if "ia3" in name else 0.0, 0.1)
    with warnings.catch_warnings():  # of matrices that are shared
        warnings.simplefilter("ignore", UserWarning)
        adapted.save_pretrained(folder)
    with torch.no_grad():
        return adapted(IDS).logits


LORA = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    save_adapter(base, folder, LORA)
    return folder


@pytest.mark.parametrize(
    "config",
    [
        LORA,
        peft.LoraConfig(r=2, target_modules=["down_proj"], use_dora=True),
        peft.IA3Config(
            target_modules=["k_proj", "down_proj"],
            feedforward_modules=["down_proj"],
            task_type="CAUSAL_LM",
        ),
    ],
    ids=["lora", "dora", "ia3"],
)
def test_the_model_computes_as_with_the_adapter_on_plain_layers(
    base: Path, tmp_path: Path, config: Any
) -> None:
    wanted = save_adapter(base, tmp_path / "a", config)
    model, _ = load_model(tmp_path / "a", "float64", "cpu")
    assert not any(type(part).__module__.startswith("peft") for part in model.modules())
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, wanted, atol=1e-6)
        assert not torch.allclose(plain(base)(IDS).logits, wanted, atol=1e-3)


def test_it_decodes_and_says_what_was_merged(base: Path, adapter: Path) -> None:
    model, tokenizer = load_model(adapter, "float32", "cpu")
    assert tokenizer.get_vocab() == load_tokenizer(base).get_vocab()
    decoder = AdaDecoder(model, ExitHeads.identity(model, (2, 4)))
    wanted = model.generate(IDS, max_new_tokens=6, do_sample=False)
    done = decoder.generate(IDS, 6, gamma=0.02, placement=(2, 4))
    assert done.tokens == wanted[0, IDS.shape[1] :].tolist()
    assert origin_of(model) == {"adapter": adapter.name, "adapter_kind": "LORA"}
    assert limitations_of(model) == [f"the adapter {adapter.name} (LORA) was merged into layers"]
    assert layers_of(adapter) == 6


def test_the_model_under_it_can_be_named(base: Path, adapter: Path, tmp_path: Path) -> None:
    """Where the one that its config names is elsewhere, or none."""
    moved = Path(shutil.copytree(adapter, tmp_path / "a"))
    config = json.loads((moved / "adapter_config.json").read_text())
    for named in ("owner/elsewhere", None):
        (moved / "adapter_config.json").write_text(
            json.dumps(config | {"base_model_name_or_path": named})
        )
        model, _ = load_model(f"{base}::{moved}", "float32", "cpu")
        assert origin_of(model)["adapter_kind"] == "LORA"
    with pytest.raises(InputError, match=r"does not say for which model .*: name it, as MODEL::"):
        load_model(moved, "float32", "cpu")


def test_its_own_tokenizer_is_taken(base: Path, adapter: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(adapter, tmp_path / "a"))
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(own)
    assert load_tokenizer(own).chat_template == "{{ messages[0]['content'] }}"
    assert load_tokenizer(adapter).chat_template is None


def says(**settings: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"x")


def torn(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (says(task_type="SEQ_CLS"), "is for the task SEQ_CLS, wanted CAUSAL_LM: name one that"),
        (says(peft_type="NOVEL"), "is of the kind NOVEL, which peft does not know"),
        (says(peft_type=3), "wanted the config of a PEFT adapter in .*adapter_config.json: copy"),
        (says(target_modules=["nowhere"]), r"\(LORA\) cannot be merged into its model: .*nowhere"),
        (says(r=2), r"\(LORA\) cannot be merged into its model: .*size mismatch"),
        (pickled, "has no adapter_model.safetensors: copy it, or save the adapter again without"),
        (torn, "adapter_model.safetensors has .* bytes, wanted .*: copy it again"),
    ],
)
def test_what_cannot_be_merged_is_one_sentence(
    adapter: Path, tmp_path: Path, change: Callable[[Path], Any], message: str
) -> None:
    own = Path(shutil.copytree(adapter, tmp_path / "a"))
    change(own)
    with pytest.raises(InputError, match=message) as refused:
        load_model(own, "float32", "cpu")
    assert "\n" not in str(refused.value)


def without(part: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda tensors: {name: one for name, one in tensors.items() if part not in name}


def renamed(old: str, new: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda tensors: {name.replace(old, new): one for name, one in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("v_proj"), r"lacks base_model\S+v_proj.lora_A.weight and 11 more, which its conf"),
        (
            without("layers.3.self_attn.q_proj.lora_B"),
            r"lacks \S+3.self_attn.q_proj.lora_B.weight,",
        ),
        (renamed("layers", "blocks"), r"lacks base_model\S+ and 23 more.*: copy it again, or name"),
        (
            lambda tensors: tensors | {"base_model.model.model.layers.0.mlp.more": torch.ones(2)},
            r"holds base_model.model.model.layers.0.mlp.more, for which there is no place",
        ),
    ],
)
def test_a_tensor_that_finds_no_place_is_named(
    adapter: Path,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    message: str,
) -> None:
    """The rest would be merged as if it were the whole adapter."""
    own = Path(shutil.copytree(adapter, tmp_path / "a"))
    path = own / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        load_model(own, "float32", "cpu")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved_model(tmp_path_factory.mktemp("tied"))
    tiny_model("llama", tie_word_embeddings=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("dtype", "alpha"), [("float32", 8), ("bfloat16", 8), ("bfloat16", 1)])
@pytest.mark.parametrize("part", ["lm_head", "embed_tokens"])
def test_one_of_two_parts_that_share_a_matrix_is_not_merged_into_both(
    tied: Path, tmp_path: Path, part: str, dtype: str, alpha: int
) -> None:
    """Whatever is rounded: also where the other one changes by no more than that."""
    config = peft.LoraConfig(
        r=4, lora_alpha=alpha, target_modules=["q_proj", part], task_type="CAUSAL_LM"
    )
    save_adapter(tied, tmp_path / "a", config)
    with pytest.raises(InputError, match=r"\(LORA\) cannot be merged .*: wanted the same (LM|emb)"):
        load_model(tmp_path / "a", dtype, "cpu")


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ],
)
def test_what_leaves_a_shared_matrix_alone_is_merged(
    tied: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    """Whatever is rounded: in 16 bits too."""
    wanted = save_adapter(tied, tmp_path / "a", peft.LoraConfig(**config, task_type="CAUSAL_LM"))
    load_model(tmp_path / "a", "bfloat16", "cpu")
    model, _ = load_model(tmp_path / "a", "float64", "cpu")
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, wanted, atol=1e-6)


@pytest.mark.parametrize("part", ["lm_head", "embed_tokens"])
def test_an_lm_head_of_its_own_is_merged(base: Path, tmp_path: Path, part: str) -> None:
    config = peft.LoraConfig(r=4, target_modules=[part], task_type="CAUSAL_LM")
    wanted = save_adapter(base, tmp_path / "a", config)
    load_model(tmp_path / "a", "bfloat16", "cpu")
    model, _ = load_model(tmp_path / "a", "float64", "cpu")
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, wanted, atol=1e-6)


def test_an_adapter_that_puts_positions_before_a_text_is_refused(
    base: Path, tmp_path: Path
) -> None:
    config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    peft.get_peft_model(plain(base), config).save_pretrained(tmp_path / "a")
    with pytest.raises(InputError, match="kind PROMPT_TUNING, which puts learned positions before"):
        load_model(tmp_path / "a", "float32", "cpu")


def test_an_adapter_of_an_adapter_is_refused(adapter: Path) -> None:
    with pytest.raises(InputError, match="is an adapter itself: name the model that it was train"):
        load_model(f"{adapter}::{adapter}", "float32", "cpu")


def test_an_adapter_in_the_folder_of_its_model_is_refused(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """As a trainer saves it that writes into the folder it read from."""
    both = Path(shutil.copytree(base, tmp_path / "both"))
    shutil.copytree(adapter, both, dirs_exist_ok=True)
    says(base_model_name_or_path=str(both))(both)
    assert layers_of(both) is None
    for load in (load_model, load_tokenizer):
        with pytest.raises(InputError, match=r"holds an adapter and the model .*: move adapter_c"):
            load(both)


@pytest.mark.parametrize("named", ["{b}", "{b}::{b}", "{a}::{b}"])
def test_adapters_that_name_each_other_are_refused(
    adapter: Path, tmp_path: Path, named: str
) -> None:
    first, second = (Path(shutil.copytree(adapter, tmp_path / name)) for name in "ab")
    says(base_model_name_or_path=named.format(a=first, b=second))(first)
    says(base_model_name_or_path=str(first))(second)
    with pytest.raises(InputError, match="is an adapter itself: name the model that it was train"):
        load_model(first)


def test_what_is_named_after_the_colons_must_be_one(base: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter in .*: wanted a folder with adapter_config"):
        load_model(f"{base}::{base}", "float32", "cpu")


def test_without_the_package_that_merges_it_the_message_says_so(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"takes the package peft: install adadecode\[adapters\]"):
        load_model(adapter, "float32", "cpu")
