"""The tokenizer of a GGUF file, put right where `transformers` converts it otherwise.

The conversion splits every text as GPT-2 does and takes the first token of a text for the last one,
whatever the file says. So what the file says is set here: which tokens begin and end a text, and
how a text is split before pairs are merged (``tokenizer.ggml.pre``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from adadecode.engine.loading.gguf_header import GgufHeader
from adadecode.profiles.errors import InputError

_WORDS = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|"
    r"\p{N}{DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How texts are split since GPT-4, with so many digits together."""


@dataclass(frozen=True)
class _Split:
    """How a text is split: as GPT-2 does, digits apart or not, or by an expression."""

    expression: str | None = None
    digits_apart: bool = False
    begins: bool = False
    """Whether a text begins with the token of beginnings where the file does not say."""

    def pre_tokenizer(self) -> PreTokenizer:
        """Return the tokenizer's part that does it."""
        if self.expression is not None:
            return pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(self.expression), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        if not self.digits_apart:
            return level
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])


_GPT_2, _DIGITS = _Split(), _Split(digits_apart=True)
_LLAMA_3 = _Split(_WORDS.replace("{DIGITS}", "{1,3}"), begins=True)
_QWEN_2 = _Split(_WORDS.replace("{DIGITS}", ""))

SPLITS: Mapping[str, _Split] = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "roberta-bpe"), _GPT_2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell", "command-r"), _DIGITS),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe"), _LLAMA_3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2"), _QWEN_2),
}
"""By the name that a GGUF file gives it, how its texts are split."""

_ENDS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""Special tokens by their names here and in a file."""


def put_right(tokenizer: Any, header: GgufHeader) -> None:
    """Set what a GGUF file says of its tokenizer.

    Args:
        tokenizer: As `transformers` made it from the file.
        header: The head of the file.

    Raises:
        InputError: How the file splits texts is not known here.
    """
    said = header.settings
    kind = said.get("tokenizer.ggml.model")
    split = _find_split(header) if kind == "gpt2" else None
    for name, long in _ENDS.items():
        number = said.get(f"tokenizer.ggml.{long}_token_id")
        token = None if number is None else tokenizer.convert_ids_to_tokens(int(number))
        setattr(tokenizer, f"{name}_token", token)
    tokenizer.clean_up_tokenization_spaces = False
    if split is not None:
        tokenizer.backend_tokenizer.pre_tokenizer = split.pre_tokenizer()
        if split is _LLAMA_3:  # a word of the vocabulary is one token, whatever its pairs
            tokenizer.backend_tokenizer.model.ignore_merges = True
    begins = said.get("tokenizer.ggml.add_bos_token", kind == "llama" or (split or _GPT_2).begins)
    tokenizer.add_bos_token = bool(begins) and tokenizer.bos_token is not None
    ends = said.get("tokenizer.ggml.add_eos_token", False)
    tokenizer.add_eos_token = bool(ends) and tokenizer.eos_token is not None


def _find_split(header: GgufHeader) -> _Split:
    """Return how the texts of a file are split. Raises InputError where it is not known."""
    name = header.settings.get("tokenizer.ggml.pre")
    if name is None:
        raise InputError(
            f"{header.path} does not say how its tokenizer splits texts (tokenizer.ggml.pre), as "
            "files of before May 2024: put the model's tokenizer.json beside the file, or convert "
            "it again"
        )
    name = str(name)
    if name not in SPLITS:
        raise InputError(
            f"the tokenizer of {header.path} splits texts by the rule {name!r}, which is not known "
            f"here ({', '.join(SPLITS)} are): put the model's tokenizer.json beside the file"
        )
    return SPLITS[name]
