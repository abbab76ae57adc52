"""Stop strings end a text exactly where ``generate`` of ``transformers`` ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from adadecode.engine.decoding import stop_strings
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.stop_strings import StopCriteria
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import InputError
from tests.support.models import random_heads, tiny_model
from tests.support.text_tokenizers import TOKENIZERS, byte_level_tokenizer

N_TOKENS = 40

DESIGNS: list[dict[str, Any]] = [
    {"policy": "vanilla"},
    {"gamma": 0.0, "cap": 5},
    {"gamma": 0.05, "cap": 1},
    {"gamma": 0.3, "cap": 3, "placement": (2, 4)},
    {"policy": "fixed", "placement": (3,), "cap": 4},
]


class Writer:
    """A model with a tokenizer, whose text goes on without an end token."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.tokenizer = TOKENIZERS[name]()
        self.tokenizer.eos_token = None
        self.model: PreTrainedModel = tiny_model("llama", vocab_size=len(self.tokenizer))
        self.model.generation_config.eos_token_id = None
        generator = torch.Generator().manual_seed(seed)
        self.prompt = torch.randint(3, len(self.tokenizer), (1, 6), generator=generator)
        self.prompt[0, -1] = self.tokenizer.convert_tokens_to_ids("b")
        self.decoder = AdaDecoder(self.model, ExitHeads.identity(self.model, range(1, 6)))
        self.text = self.generate()

    def generate(self, **options: Any) -> list[int]:
        """Return the new tokens of the model's own greedy ``generate``."""
        out = self.model.generate(
            self.prompt,
            attention_mask=torch.ones_like(self.prompt),
            do_sample=False,
            max_new_tokens=N_TOKENS,
            pad_token_id=0,
            **options,
        )
        return out[0, self.prompt.shape[1] :].tolist()

    @cache  # noqa: B019 -- the few writers live as long as these tests
    def stopped(self, strings: str | tuple[str, ...]) -> list[int]:
        """Return what ``generate`` writes up to the first of these strings."""
        wanted = list(strings) if isinstance(strings, tuple) else strings
        return self.generate(stop_strings=wanted, tokenizer=self.tokenizer)

    def strings(self) -> Iterator[str]:
        """Yield strings that the text completes: short, long, whole tokens and parts of them."""
        for first in range(0, N_TOKENS - 4, 3):
            for count in (1, 2, 4):
                piece = self.tokenizer.decode(self.text[first : first + count])
                for part in (piece, piece[1:], piece[:-1]):
                    if part and "\ufffd" not in part and "<" not in part:
                        yield part


@pytest.fixture(scope="module", params=sorted(TOKENIZERS))
def writer(request: pytest.FixtureRequest) -> Writer:
    return Writer(request.param)


@pytest.fixture(scope="module")
def bytes_writer() -> Writer:
    return Writer("byte level", seed=1)


# ---- greedy texts are generate's, token for token ----


def test_a_text_stops_where_generates_stops(writer: Writer) -> None:
    """Each string, under a design each; most of them stop the text early, and not all at once."""
    strings = list(dict.fromkeys(writer.strings()))[::5]
    lengths = set()
    for number, string in enumerate(strings):
        options = {"stop_strings": string, "tokenizer": writer.tokenizer}
        wanted = writer.generate(**options)
        design = DESIGNS[number % len(DESIGNS)]
        assert writer.decoder.generate(writer.prompt, N_TOKENS, **design, **options).tokens == (
            wanted
        ), (string, design)
        lengths.add(len(wanted))
    assert len(strings) >= 8
    assert len(lengths) >= 5


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_every_design_stops_there_and_streams_it(bytes_writer: Writer, design: Any) -> None:
    """A character of two tokens, one that ends inside a token, several strings, and none."""
    halves = [at for at in range(N_TOKENS - 1) if _is_split(bytes_writer, at)]
    assert halves, "the text should have a character whose bytes come from two tokens"
    for strings in ("é", ["é", "hgfe"], ["e.", "é", "he "], ("hgfe",), "ae", []):
        options = {"tokenizer": bytes_writer.tokenizer, "stop_strings": strings}
        key = strings if isinstance(strings, str) else tuple(strings)
        wanted = bytes_writer.stopped(key) if strings else bytes_writer.text
        text = bytes_writer.decoder.generate(bytes_writer.prompt, N_TOKENS, **design, **options)
        streamed = bytes_writer.decoder.stream(bytes_writer.prompt, N_TOKENS, **design, **options)
        assert text.tokens == wanted
        assert list(streamed) == wanted


def _is_split(writer: Writer, at: int) -> bool:
    """Whether an é begins in this token of the text and ends in the next."""
    pair = [writer.tokenizer.convert_ids_to_tokens(writer.text[at + k]) for k in (0, 1)]
    return bool(pair[0].endswith("Ã") and pair[1].startswith("©"))


def test_heads_that_know_nothing_stop_nothing(bytes_writer: Writer) -> None:
    """Their drafts hold stop strings that the last layer rejects."""
    decoder = AdaDecoder(bytes_writer.model, random_heads(bytes_writer.model, scale=30.0))
    for string in ("é", "ae", ".", "he ", "h"):
        options = {"stop_strings": string, "tokenizer": bytes_writer.tokenizer}
        text = decoder.generate(bytes_writer.prompt, N_TOKENS, gamma=0.0, **options)
        assert text.tokens == bytes_writer.generate(**options)


def test_a_string_may_begin_in_the_prompt(bytes_writer: Writer) -> None:
    """As for ``generate``, whose criterion sees the prompt too."""
    first = bytes_writer.tokenizer.decode(bytes_writer.text[:1])
    assert first[0].isascii()
    options = {"stop_strings": "b" + first[0], "tokenizer": bytes_writer.tokenizer}
    assert bytes_writer.generate(**options) == bytes_writer.text[:1]
    done = bytes_writer.decoder.generate(bytes_writer.prompt, N_TOKENS, **options)
    assert (done.tokens, done.rounds) == (bytes_writer.text[:1], [])


def test_an_end_token_still_ends_a_text(bytes_writer: Writer) -> None:
    """Whichever comes first."""
    options = {"stop_strings": "é", "tokenizer": bytes_writer.tokenizer}
    stopped = bytes_writer.generate(**options)
    for end in (stopped[1], bytes_writer.text[len(stopped) + 2]):
        wanted = bytes_writer.generate(eos_token_id=end, **options)
        done = bytes_writer.decoder.generate(
            bytes_writer.prompt, N_TOKENS, gamma=0.0, eos_token_id=end, **options
        )
        assert done.tokens == wanted


# ---- sampled texts ----


def test_a_sampled_text_is_cut_where_a_string_is_complete(bytes_writer: Writer) -> None:
    """It is the text of the same seed without stop strings, up to the token that completes one."""
    stopped = 0
    for seed in range(5):
        design = DESIGNS[seed % len(DESIGNS)]
        options = {"temperature": 1.0, "seed": seed, **design}
        whole = bytes_writer.decoder.generate(bytes_writer.prompt, N_TOKENS, **options).tokens
        wanted = whole[: _stop_at(bytes_writer, whole, ("é", "ae"))]
        options |= {"stop_strings": ["é", "ae"], "tokenizer": bytes_writer.tokenizer}
        assert (
            bytes_writer.decoder.generate(bytes_writer.prompt, N_TOKENS, **options).tokens == wanted
        )
        assert list(bytes_writer.decoder.stream(bytes_writer.prompt, N_TOKENS, **options)) == wanted
        stopped += len(wanted) < len(whole)
    assert stopped >= 3


def _stop_at(writer: Writer, tokens: Sequence[int], strings: Sequence[str]) -> int:
    """Return how many tokens there are when the bytes of a string first end in the last of them."""
    letters = {letter: byte for byte, letter in _bytes_of_letters().items()}
    text = b"".join(
        bytes(letters[letter] for letter in writer.tokenizer.convert_ids_to_tokens(int(token)))
        for token in writer.prompt[0]
    )
    for count, token in enumerate(tokens, 1):
        before = len(text)
        text += bytes(letters[one] for one in writer.tokenizer.convert_ids_to_tokens(token))
        if any(
            text.find(string.encode(), max(0, before - len(string.encode()) + 1)) >= 0
            for string in strings
        ):
            return count
    return len(tokens)


def _bytes_of_letters() -> dict[int, str]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return bytes_to_unicode()


# ---- the model's own, and what is refused ----


def test_the_models_own_stop_strings_count(bytes_writer: Writer) -> None:
    """As for ``generate``: they need the tokenizer, and can be turned off."""
    options = {"stop_strings": "é", "tokenizer": bytes_writer.tokenizer}
    wanted = bytes_writer.generate(**options)
    settings, decoder, prompt = (
        bytes_writer.model.generation_config,
        bytes_writer.decoder,
        bytes_writer.prompt,
    )
    settings.stop_strings = ["é"]
    try:
        assert decoder.generate(prompt, N_TOKENS, tokenizer=bytes_writer.tokenizer).tokens == wanted
        with pytest.raises(
            InputError,
            match=r"generation settings have the stop strings \['é'\], .* give tokenizer",
        ):
            decoder.generate(prompt, N_TOKENS)
        assert decoder.generate(prompt, N_TOKENS, stop_strings=()).tokens == bytes_writer.text
    finally:
        settings.stop_strings = None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop_strings": "é"}, r"to end at the stop strings \['é'\], .* give tokenizer too"),
        ({"stop_strings": ""}, "a string or a list of strings, none of them empty, got ''"),
        ({"stop_strings": ["é", ""]}, "none of them empty, got"),
        ({"stop_strings": ["é", 7]}, "wanted stop_strings as a string or a list of strings"),
        ({"stop_strings": 13}, "wanted stop_strings as a string .* got 13: give one such as"),
        ({"stop_strings": b"e"}, "wanted stop_strings as a string"),
        ({"stop_strings": {"e": 1}}, "wanted stop_strings as a string"),
        ({"stop_strings": "é", "tokenizer": "gpt2"}, "wanted tokenizer as one of .* got a str"),
        ({"stop_strings": "語"}, "cannot be found in the tokens of this .*: give strings that"),
    ],
)
def test_what_no_text_can_stop_at_is_refused(
    bytes_writer: Writer, options: dict[str, Any], message: str
) -> None:
    """By ``generate``, and by ``stream`` before anything is computed."""
    if options.get("stop_strings") == "語":
        options = options | {"tokenizer": bytes_writer.tokenizer}
    for ask in (bytes_writer.decoder.generate, bytes_writer.decoder.stream):
        with pytest.raises(InputError, match=message):
            ask(bytes_writer.prompt, 4, **options)


def test_a_tokenizer_that_cannot_write_letters_is_refused() -> None:
    """Words alone: ``transformers`` takes its own test word for an unknown one."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(InputError, match=r"\['a'\] cannot be found in the tokens of this"):
        StopCriteria(("a",), PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"))


def test_strings_are_prepared_once(bytes_writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the whole vocabulary; another string or an added token prepares them anew."""
    made: list[Any] = []
    prepare = stop_strings.StopStringCriteria

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(stop_strings, "StopStringCriteria", counted)
    decoder, tokenizer = AdaDecoder(bytes_writer.model), byte_level_tokenizer()
    tokenizer.eos_token = None
    for strings in (["b"], ["b"], ("b",), "b"):
        decoder.generate(bytes_writer.prompt, 2, stop_strings=strings, tokenizer=tokenizer)
    assert len(made) == 1
    decoder.generate(bytes_writer.prompt, 2, stop_strings="c", tokenizer=tokenizer)
    tokenizer.add_tokens(["new"])
    decoder.generate(bytes_writer.prompt, 2, stop_strings="c", tokenizer=tokenizer)
    assert len(made) == 3
