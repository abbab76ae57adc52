"""What becomes of each setting of a generation config: the tables are whole, warnings follow."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import pytest
from transformers import GenerationConfig, GenerationMixin
from transformers.generation.configuration_utils import (
    ALL_CACHE_IMPLEMENTATIONS,
    WatermarkingConfig,
)

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.generation_settings import (
    ARGUMENTS,
    BENDING,
    BENDING_SAMPLES,
    HONOURED,
    WITHOUT_EFFECT,
    bending,
    known_settings,
    settings_of,
)
from tests.support.models import random_prompt, tiny_model

PROMPT = random_prompt(5)

CHANGED: dict[str, Any] = {
    "assistant_ensemble_weight": 0.5,
    "bad_words_ids": [[5]],
    "begin_suppress_tokens": [5],
    "cache_implementation": "quantized",
    "constraints": ["c"],
    "dola_layers": "low",
    "encoder_no_repeat_ngram_size": 2,
    "encoder_repetition_penalty": 1.5,
    "exponential_decay_length_penalty": (2, 1.5),
    "force_words_ids": [[5]],
    "forced_bos_token_id": 5,
    "forced_eos_token_id": 5,
    "guidance_scale": 1.5,
    "max_time": 1.0,
    "min_length": 9,
    "min_new_tokens": 9,
    "no_repeat_ngram_size": 2,
    "num_beam_groups": 2,
    "num_beams": 2,
    "num_return_sequences": 2,
    "penalty_alpha": 0.6,
    "remove_invalid_values": True,
    "repetition_penalty": 1.5,
    "sequence_bias": {(5,): 3.0},
    "suppress_tokens": [5],
    "token_healing": True,
    "watermarking_config": WatermarkingConfig(),
}
CHANGED_SAMPLES: dict[str, Any] = {
    "epsilon_cutoff": 0.1,
    "eta_cutoff": 0.1,
    "min_p": 0.1,
    "top_h": 0.5,
    "top_k": 5,
    "top_p": 0.5,
    "typical_p": 0.5,
}


def test_every_setting_of_transformers_is_known() -> None:
    """A version that adds one fails here: say in the table what becomes of it."""
    assert settings_of(GenerationConfig()) == known_settings()


def test_every_setting_stands_in_one_table() -> None:
    tables = [ARGUMENTS, HONOURED, frozenset(BENDING), frozenset(BENDING_SAMPLES), WITHOUT_EFFECT]
    assert sum(map(len, tables)) == len(known_settings())


def test_every_logits_processor_of_generate_is_in_the_table() -> None:
    """What ``generate`` reads to make its processors changes a text, or is an argument here."""
    source = inspect.getsource(GenerationMixin._get_logits_processor)
    read = {*re.findall(r"generation_config\.(\w+)", source)} - {"_eos_token_tensor"}
    without = {"renormalize_logits", "use_cache"}  # a softmax is the same; so is a pass without one
    assert read - without <= {*BENDING, *BENDING_SAMPLES, *ARGUMENTS}


@pytest.mark.parametrize("name", sorted(BENDING))
def test_a_setting_that_changes_the_text_is_named(name: str) -> None:
    """When the decoder is made, and where it is set later, at the next call, but once."""
    model = tiny_model("llama")
    decoder = AdaDecoder(model)
    setattr(model.generation_config, name, CHANGED[name])
    with pytest.warns(UserWarning, match=f"bend what generate writes .{name}="):
        AdaDecoder(model)
    with pytest.warns(UserWarning, match=f"bend what generate writes .{name}="):
        decoder.generate(PROMPT, 2, policy="vanilla")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoder.generate(PROMPT, 2, policy="vanilla")
        list(decoder.stream(PROMPT, 2, policy="vanilla", temperature=1.0))


@pytest.mark.parametrize("name", sorted(BENDING_SAMPLES))
def test_a_setting_that_changes_samples_alone_is_named_where_a_text_is_sampled(name: str) -> None:
    model = tiny_model("llama")
    setattr(model.generation_config, name, CHANGED_SAMPLES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoder = AdaDecoder(model)
        decoder.generate(PROMPT, 2, policy="vanilla")
    with pytest.warns(UserWarning, match=f"bend what generate writes .{name}="):
        decoder.stream(PROMPT, 2, policy="vanilla", temperature=1.0)


@pytest.mark.parametrize("argument", [{"top_k": 0, "top_p": 1.0}, {"top_k": 9, "top_p": 0.9}])
def test_an_argument_stands_in_place_of_a_setting(argument: dict[str, Any]) -> None:
    """Also one that turns it off."""
    model = tiny_model("llama")
    model.generation_config.top_k, model.generation_config.top_p = 5, 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AdaDecoder(model).generate(PROMPT, 2, policy="vanilla", temperature=1.0, **argument)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, plain in (BENDING | BENDING_SAMPLES).items() for value in plain]
    + [("bad_words_ids", []), ("sequence_bias", {}), ("suppress_tokens", ())]
    + [("do_sample", True), ("temperature", 0.6), ("max_length", 20), ("pad_token_id", 0)]
    + [("custom_of_the_checkpoint", "chatml")],
)
def test_a_value_that_changes_nothing_is_not_named(name: str, value: Any) -> None:
    config = GenerationConfig()
    setattr(config, name, value)
    assert bending(config, sampled=True) == {}


def test_every_cache_but_a_quantized_one_holds_the_same_numbers() -> None:
    assert set(BENDING["cache_implementation"]) == {*ALL_CACHE_IMPLEMENTATIONS} - {"quantized"}


@pytest.mark.parametrize("name", sorted({*BENDING, *BENDING_SAMPLES} - {"top_k", "top_p"}))
def test_a_setting_that_is_not_supported_is_no_argument(name: str) -> None:
    """It is refused, and not dropped, where it is passed to a call."""
    decoder = AdaDecoder(tiny_model("llama"))
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(TypeError, match=name):
            ask(PROMPT, 2, **{name: (CHANGED | CHANGED_SAMPLES)[name]})


def test_a_long_value_is_cut_short() -> None:
    model = tiny_model("llama")
    model.generation_config.suppress_tokens = list(range(1000))
    with pytest.warns(UserWarning, match=r"\(suppress_tokens=\[0, 1, 2, .*\.\.\.\)") as found:
        AdaDecoder(model)
    assert len(str(found[0].message)) < 250
