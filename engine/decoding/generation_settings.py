"""What becomes of each setting of a model's ``generation_config``, as `AdaDecoder` decodes.

The tables know every setting that ``generate`` of ``transformers`` has (5.17, and the names of
versions before it). A test fails when ``transformers`` adds one.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from transformers import GenerationConfig

ARGUMENTS = frozenset("max_new_tokens max_length do_sample temperature".split())
"""Arguments of `AdaDecoder.generate` that have defaults of their own; settings are not read."""

HONOURED = frozenset("eos_token_id stop_strings".split())
"""Settings that `AdaDecoder.generate` takes where the argument of the same name is left out."""

BENDING: dict[str, tuple[Any, ...]] = {
    "assistant_ensemble_weight": (),
    "bad_words_ids": (),
    "begin_suppress_tokens": (),
    # all but a quantized cache hold the same numbers
    "cache_implementation": tuple(
        "dynamic offloaded static offloaded_static sliding_window hybrid hybrid_chunked "
        "offloaded_hybrid offloaded_hybrid_chunked".split()
    ),
    "constraints": (),
    "dola_layers": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1.0,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "guidance_scale": (1.0,),
    "max_time": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "no_repeat_ngram_size": (0,),
    "num_beam_groups": (1,),
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0.0,),
    "remove_invalid_values": (False,),
    "repetition_penalty": (1.0,),
    "sequence_bias": (),
    "suppress_tokens": (),
    "token_healing": (False,),
    "watermarking_config": (),
}
"""Settings that change every text, with the values, beside None and nothing, that change none."""

BENDING_SAMPLES: dict[str, tuple[Any, ...]] = {
    "epsilon_cutoff": (0.0, 1.0),
    "eta_cutoff": (0.0, 1.0),
    "min_p": (0.0,),
    "top_h": (),
    "top_k": (0,),
    "top_p": (1.0,),
    "typical_p": (1.0,),
}
"""Settings that change sampled texts alone; ``top_k`` and ``top_p`` where no argument is given."""

WITHOUT_EFFECT = frozenset(
    # of the encoder, of beams, or of a text that is made anew
    "bos_token_id decoder_start_token_id diversity_penalty early_stopping length_penalty "
    "low_memory pad_token_id renormalize_logits "
    # how fast a text is made, and in which memory
    "assistant_confidence_threshold assistant_early_exit assistant_lookbehind cache_config "
    "compile_config continuous_batching_config disable_compile is_assistant "
    "max_cache_len max_matching_ngram_size num_assistant_tokens num_assistant_tokens_schedule "
    "prefill_chunk_size prompt_lookup_num_tokens speculation_type target_lookbehind use_cache "
    "use_mtp "
    # what is returned beside the text, and where the settings are from
    "output_attentions output_hidden_states output_logits output_scores return_dict_in_generate "
    "transformers_version".split()
)
"""Settings that change no text: not its tokens, and not how they are distributed."""


def known_settings() -> frozenset[str]:
    """Return every setting that the tables know."""
    return ARGUMENTS | HONOURED | WITHOUT_EFFECT | {*BENDING, *BENDING_SAMPLES}


def settings_of(config: GenerationConfig) -> frozenset[str]:
    """Return the names of the settings that a ``generation_config`` has."""
    return frozenset(name for name in vars(config) if not name.startswith("_"))


def bending(
    config: GenerationConfig | None, *, sampled: bool, given: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings that would change a text of ``generate``, and that are not applied.

    A setting that the tables do not know counts where ``transformers`` knows it.

    Args:
        config: The model's ``generation_config``.
        sampled: Whether the text is sampled.
        given: Settings in place of which an argument was given.
    """
    if config is None:
        return {}
    plain = BENDING | (BENDING_SAMPLES if sampled else {})
    plain |= dict.fromkeys(_newer_settings(), ())
    found = {name: getattr(config, name, None) for name in sorted(plain) if name not in given}
    return {
        name: value for name, value in found.items() if not _changes_nothing(value, plain[name])
    }


def in_words(name: str, value: Any) -> str:
    """Return a setting and its value on one line, a long value cut short."""
    text = " ".join(repr(value).split())
    return f"{name}={text if len(text) <= 60 else f'{text[:57]}...'}"


@cache
def _newer_settings() -> frozenset[str]:
    """Return the settings of the installed ``transformers`` that the tables do not know."""
    return settings_of(GenerationConfig()) - known_settings()


def _changes_nothing(value: Any, plain: tuple[Any, ...]) -> bool:
    if value is None or (isinstance(value, (list, tuple, dict, set)) and not value):
        return True
    return isinstance(value, (bool, int, float, str)) and value in plain
