"""PEFT adapters are merged into the layers of their model, or refused by name."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from adadecode.engine import AdaDecoder, ExitHeads
from adadecode.engine.loading.model_loader import layers_of, load_model, load_tokenizer
from adadecode.engine.loading.model_origin import limitations_of, origin_of
from adadecode.profiles.errors import InputError
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
    adapted = peft.get_peft_model(plain(base), config).eval()
    for name, weight in adapted.named_parameters():
        if "lora_" in name or "ia3" in name:
            torch.nn.init.normal_(weight, 1.0 if "ia3" in name else 0.0, 0.1)
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


def test_what_is_named_after_the_colons_must_be_one(base: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter in .*: wanted a folder with adapter_config"):
        load_model(f"{base}::{base}", "float32", "cpu")


def test_without_the_package_that_merges_it_the_message_says_so(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"takes the package peft: install adadecode\[adapters\]"):
        load_model(adapter, "float32", "cpu")
