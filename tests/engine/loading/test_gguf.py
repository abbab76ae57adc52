"""GGUF files are loaded as plain models with the tokenizer that they say, or refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adadecode.engine import AdaDecoder, ExitHeads
from adadecode.engine.loading.gguf_header import read_header
from adadecode.engine.loading.model_loader import (
    layers_of,
    load_config,
    load_model,
    load_tokenizer,
)
from adadecode.engine.loading.model_origin import limitations_of, origin_of
from adadecode.profiles.errors import InputError
from tests.support.gguf_files import llama_model, write_gguf


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf"
    write_gguf(path, llama_model())
    return path


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("quantised", [True, False])
def test_its_weights_are_those_that_were_written(
    tmp_path: Path, tied: bool, quantised: bool
) -> None:
    """Unpacked to plain parameters of the wanted dtype, queries and keys in their own order."""
    wanted = write_gguf(tmp_path / "m.gguf", llama_model(tied=tied), quantised=quantised)
    model, _ = load_model(tmp_path / "m.gguf", "float32", "cpu")
    found = model.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in wanted.items())
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert {type(part).__name__ for part in model.modules() if hasattr(part, "weight")} == {
        *("Embedding", "Linear", "LlamaRMSNorm")
    }
    assert not hasattr(model.config, "quantization_config")
    assert model.get_memory_footprint() < 4 * model.num_parameters() + 1024


def test_a_file_a_folder_and_a_named_file_are_the_same_model(file: Path) -> None:
    names = (str(file), str(file.parent), f"{file.parent}::{file.name}")
    sums = set()
    for name in names:
        weights = load_model(name, "float32", "cpu")[0].state_dict().values()
        sums.add(float(sum(weight.double().sum() for weight in weights)))
    assert len(sums) == 1
    assert {layers_of(name) for name in names} == {6}
    assert load_config(file).num_key_value_heads == 2


def test_it_decodes_as_generate_does_and_says_what_it_was(file: Path) -> None:
    model, tokenizer = load_model(file, "float32", "cpu")
    ids = tokenizer("hi hi", return_tensors="pt")
    wanted = model.generate(**ids, max_new_tokens=8, do_sample=False)
    told = wanted[0, ids["input_ids"].shape[1] :].tolist()
    decoder = AdaDecoder(model, ExitHeads.identity(model, (2, 4)))
    done = decoder.generate(ids["input_ids"], 8, gamma=0.02, placement=(2, 4))
    assert done.tokens == told
    assert origin_of(model) == {"format": "gguf", "file": file.name, "packed_as": "q8_0"}
    assert limitations_of(model)[0].startswith("weights unpacked from a GGUF file of format q8_0")


def test_its_tokens_begin_and_end_texts_as_it_says(file: Path) -> None:
    """The conversion takes the first special token for the last one."""
    tokenizer = load_tokenizer(file)
    ends = tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token
    assert ends == ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>")
    told = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert told == "<|im_start|>hi<|im_end|>"


@pytest.mark.parametrize(
    ("pre", "text", "wanted"),
    [
        ("gpt-2", "x  1", ["x", "Ġ", "Ġ", "1"]),
        ("gpt-2", "12", ["12"]),
        ("smollm", "x  1", ["x", "ĠĠ", "1"]),
        ("smollm", "12", ["1", "2"]),
        ("smollm", "\n\n1", ["ĊĊ", "1"]),
        ("llama-bpe", "12", ["12"]),
        ("llama-bpe", "\n\n1", ["ĊĊ", "1"]),
        ("qwen2", "12", ["1", "2"]),
        ("qwen2", "\n\n1", ["ĊĊ", "1"]),
    ],
)
def test_texts_are_split_before_pairs_are_merged_as_it_says(
    tmp_path: Path, pre: str, text: str, wanted: list[str]
) -> None:
    write_gguf(tmp_path / "m.gguf", llama_model(), pre=pre)
    tokenizer = load_tokenizer(tmp_path / "m.gguf")
    begins = ["<|im_start|>"] if pre == "llama-bpe" else []
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == [*begins, *wanted]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("said", "begins"), [({}, False), ({"tokenizer.ggml.add_bos_token": True}, True)]
)
def test_a_text_begins_as_it_says(tmp_path: Path, said: dict[str, Any], begins: bool) -> None:
    write_gguf(tmp_path / "m.gguf", llama_model(), settings=said)
    ids = load_tokenizer(tmp_path / "m.gguf")("hi")["input_ids"]
    assert (ids[0] == 1) is begins


def test_every_token_that_ends_a_text_ends_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", llama_model(), settings={"tokenizer.ggml.eot_token_id": 7})
    model, _ = load_model(tmp_path / "m.gguf", "float32", "cpu")
    assert model.generation_config.eos_token_id == [2, 7]


def test_a_file_that_does_not_say_how_texts_are_split_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", llama_model(), pre=None)
    with pytest.raises(InputError, match=r"does not say how its tokenizer splits texts \(tokenize"):
        load_tokenizer(tmp_path / "m.gguf")


def test_a_tokenizer_beside_the_file_is_taken(tmp_path: Path) -> None:
    """It is the remedy where the file's own splits texts by an unknown rule."""
    write_gguf(tmp_path / "m.gguf", llama_model(), pre="my-own")
    with pytest.raises(
        InputError, match=r"splits texts by the rule 'my-own', which is not known here.*put the mo"
    ):
        load_tokenizer(tmp_path / "m.gguf")
    write_gguf(tmp_path / "n.gguf", llama_model())
    load_tokenizer(tmp_path / "n.gguf").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path / "m.gguf")
    assert tokenizer.convert_ids_to_tokens(tokenizer("x  1")["input_ids"]) == ["x", "ĠĠ", "1"]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def changed(at: int, data: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        whole = bytearray(path.read_bytes())
        whole[at : at + len(data)] = data
        path.write_bytes(bytes(whole))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: cut(path, path.stat().st_size - 4000), r"m\.gguf is cut short: copy it"),
        (lambda path: cut(path, 2000), r"m\.gguf is cut short: copy it again"),
        (lambda path: cut(path, 10), r"m\.gguf is cut short: copy it again"),
        (lambda path: cut(path, 0), r"cannot read .*m\.gguf \(.*empty.*\): copy it again"),
        (changed(0, b"GGML"), r"m\.gguf is no GGUF file, whatever its name"),
        (changed(4, b"\1\0\0\0"), r"version 1, wanted one of \[2, 3\]: convert it again"),
        (changed(8, b"\xff" * 8), r"m\.gguf is damaged: its head counts 18,446,744,073"),
        (changed(16, b"\xff" * 8), r"m\.gguf is damaged: its head counts"),
    ],
)
def test_a_damaged_file_is_one_sentence(
    file: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(file.read_bytes())
    damage(path)
    for load in (load_model, load_tokenizer, load_config):
        with pytest.raises(InputError, match=message) as refused:
            load(path)
        assert "\n" not in str(refused.value)


def test_an_architecture_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", llama_model(), architecture="rwkv6")
    with pytest.raises(InputError, match=r"of the architecture 'rwkv6', which transformers does"):
        load_model(tmp_path / "m.gguf", "float32", "cpu")


def test_tensors_that_the_model_would_leave_out_are_refused(tmp_path: Path) -> None:
    """They would change its text: the factors of long positions, for one."""
    extra = {"rope_factors_long.weight": np.full(8, 2, dtype=np.float32)}
    write_gguf(tmp_path / "m.gguf", llama_model(), extra=extra)
    with pytest.raises(InputError, match=r"holds rope_factors_long\.weight, which transformers'"):
        load_model(tmp_path / "m.gguf", "float32", "cpu")


def test_one_part_of_several_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m-00001-of-00002.gguf"
    write_gguf(path, llama_model(), settings={"split.count": 2})
    with pytest.raises(InputError, match=r"one of 2 parts of a GGUF file.*llama-gguf-split --merg"):
        load_model(path, "float32", "cpu")


def test_a_folder_of_several_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        write_gguf(tmp_path / name, llama_model())
    with pytest.raises(InputError, match=r"holds 2 GGUF files \(a\.gguf, b\.gguf\): name one of"):
        load_model(tmp_path, "float32", "cpu")
    with pytest.raises(InputError, match=r"no file c\.gguf in .*: it holds a\.gguf, b\.gguf"):
        load_model(f"{tmp_path}::c.gguf", "float32", "cpu")
    assert layers_of(f"{tmp_path}::b.gguf") == 6


def test_its_weights_cannot_be_packed_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "adadecode.engine.loading.model_loader.weight_config", lambda *_: {"quant_method": "any"}
    )
    with pytest.raises(InputError, match="is a GGUF file, whose weights are unpacked and cannot"):
        load_model(file, "float32", "cpu", weights="int8")


def test_without_the_package_that_reads_it_the_message_says_so(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported late: the engine works without it."""
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match="reading a GGUF file takes the package gguf: install it"):
        load_model(file, "float32", "cpu")


def test_the_head_of_a_file_says_its_formats(file: Path) -> None:
    header = read_header(file)
    assert header.architecture == "llama"
    assert header.formats() == ["Q8_0", "F32"]
    assert header.numbers == llama_model().num_parameters()
