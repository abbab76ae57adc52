"""Small tokenizers whose tokens are pieces of text: several letters, and parts of one character."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
PIECES = (
    *"abcdefgh .,\n",
    *("ab", "ba", "bcd", "\n\n", " a", ". ", "e.", "th", "he ", "é", "日本", "本", "ae", "ea"),
)
"""Pieces of text that are tokens of every tokenizer here."""

_BYTES = pre_tokenizers.ByteLevel.alphabet()


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As GPT-2's and Llama 3's: tokens are bytes, and the two of an é may be apart.

    Half of them begin in the middle of an é, or end there, so that a random text often makes one of
    two tokens.
    """
    mapped = _mapping()
    halves = [
        *(f"\xa9{letter}" for letter in "abcdefgh. "),
        *(f"{one}\xc3" for one in "abcdefgh. "),
    ]
    texts = [piece.encode() for piece in PIECES] + [half.encode("latin-1") for half in halves]
    words = ["".join(mapped[byte] for byte in text) for text in texts]
    tokenizer = Tokenizer(models.BPE(vocab=_vocabulary(words), merges=[], unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _fast(tokenizer)


def byte_fallback_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2's: ▁ is a space, and what is no piece is spelt in bytes like <0xC3>."""
    words = [piece.replace(" ", "▁") for piece in PIECES]
    words += [f"<0x{byte:02X}>" for byte in (0xC3, 0xA9, 0xE6, 0x97, 0xA5, 0x0A)]
    tokenizer = Tokenizer(
        models.BPE(vocab=_vocabulary(words), merges=[], unk_token="<pad>", byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return _fast(tokenizer)


def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """As T5's: ▁ is a space, and there are no bytes."""
    words = [piece.replace(" ", "▁") for piece in PIECES]
    tokenizer = Tokenizer(models.BPE(vocab=_vocabulary(words), merges=[], unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return _fast(tokenizer)


TOKENIZERS = {
    "byte level": byte_level_tokenizer,
    "byte fallback": byte_fallback_tokenizer,
    "metaspace": metaspace_tokenizer,
}


def _vocabulary(words: list[str]) -> dict[str, int]:
    return {word: index for index, word in enumerate(dict.fromkeys([*SPECIAL.values(), *words]))}


def _mapping() -> dict[int, str]:
    """Return the letter that stands for each byte in a byte-level vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    mapped = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in mapped]
    mapped |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    assert set(mapped.values()) == set(_BYTES)
    return mapped


def _fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(one, special=True) for one in SPECIAL.values()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
