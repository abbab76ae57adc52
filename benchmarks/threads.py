"""Count what threads get that decode at once: their own text, a refusal, another text, an error.

In each round two threads start together and decode a text each, which is compared with the model's
own greedy text, found before. Threads take turns every few microseconds, so that whatever they
share is seen in every state. Afterwards ``generate`` is called again on each model. The first two
cases are those of 72 runs of which 55 once gave another text without any error.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedModel

from adadecode.engine import AdaDecoder
from adadecode.engine.model.inductor import why_uncompilable
from adadecode.profiles.errors import InputError
from benchmarks.harness import make_table, write_result
from tests.support.models import greedy_text, random_heads, random_prompt, tiny_model
from tests.support.threads import SWITCH_S, together

OUTCOMES = ("right", "refused", "wrong", "error")
N_TOKENS = 24
DESIGN: dict[str, Any] = {"gamma": 0.1}


@dataclass(frozen=True, kw_only=True)
class Text:
    """Hold what one thread decodes.

    Attributes:
        decode: Returns the new tokens.
        wanted: The model's own.
    """

    decode: Callable[[], list[int]]
    wanted: list[int]

    def outcome(self) -> str:
        """Decode the text, and return one of `OUTCOMES`."""
        try:
            tokens = self.decode()
        except InputError:
            return "refused"
        except Exception:  # noqa: BLE001 -- whatever it is, it is counted
            return "error"
        return "right" if tokens == self.wanted else "wrong"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Texts that are decoded at once, one a thread.

    Attributes:
        name: What the threads have in common.
        texts: The texts.
        models: The models on which ``generate`` is called afterwards.
        graphs: How the decoders run.
    """

    name: str
    texts: Sequence[Text]
    models: Sequence[PreTrainedModel]
    graphs: str = "eager"


def prompt_of(number: int) -> torch.Tensor:
    """Return the prompt of a thread."""
    return random_prompt(5 + 4 * number, seed=number)


def decoder_of(model: PreTrainedModel, graphs: str = "eager") -> AdaDecoder:
    """Return a decoder with heads that are nearly always wrong, so that much is rolled back."""
    if graphs == "canonical":
        return AdaDecoder(model, random_heads(model), numerics=graphs)
    return AdaDecoder(model, random_heads(model), graphs=graphs)


def own_text(model: PreTrainedModel, number: int) -> list[int]:
    """Return the model's own text of a thread's prompt."""
    return greedy_text(model, prompt_of(number), N_TOKENS)


def generated(decoder: AdaDecoder, number: int) -> Text:
    """Return a text that the decoder gives whole."""

    def decode() -> list[int]:
        ids = prompt_of(number)
        return decoder.generate(ids, N_TOKENS, eos_token_id=(), **DESIGN).tokens

    return Text(decode=decode, wanted=own_text(decoder.parts.model, number))


def streamed(decoder: AdaDecoder, number: int) -> Text:
    """Return a text whose tokens are taken one by one."""

    def decode() -> list[int]:
        return list(decoder.stream(prompt_of(number), N_TOKENS, eos_token_id=(), **DESIGN))

    return Text(decode=decode, wanted=own_text(decoder.parts.model, number))


def by_the_model(model: PreTrainedModel, number: int) -> Text:
    """Return a text of the model's own ``generate``."""
    wanted = own_text(model, number)
    return Text(decode=lambda: own_text(model, number), wanted=wanted)


def made_anew(model: PreTrainedModel, number: int) -> Text:
    """Return a text of a decoder that is made for it."""
    wanted = own_text(model, number)
    return Text(decode=lambda: generated(decoder_of(model), number).decode(), wanted=wanted)


def same_config(*models: PreTrainedModel) -> None:
    """Let all models go by the config of the first one."""
    for model in models[1:]:
        own = model.config
        for module in model.modules():
            if getattr(module, "config", None) is own:
                module.config = models[0].config


def cases(graphs: Sequence[str]) -> Iterator[Case]:
    """Yield the cases, each with models of its own: first the two of the experiment.

    Args:
        graphs: Ways to run besides ``eager``.
    """
    one, two = tiny_model("llama"), tiny_model("llama", seed=1)
    texts = [generated(decoder_of(one), 0), generated(decoder_of(two), 1)]
    yield Case(name="two models", texts=texts, models=[one, two])
    for how in ("eager", *graphs):
        model = tiny_model("llama")
        decoder = decoder_of(model, how)
        texts = [generated(decoder, 0), generated(decoder, 1)]
        yield Case(name="one decoder", graphs=how, texts=texts, models=[model])
    for how in ("eager", *graphs):
        model = tiny_model("llama")
        decoder = decoder_of(model, how)
        texts = [streamed(decoder, 0), streamed(decoder, 1)]
        yield Case(name="one decoder, two streams", graphs=how, texts=texts, models=[model])
    for how in ("eager", *graphs):
        model = tiny_model("llama")
        texts = [generated(decoder_of(model, how), number) for number in (0, 1)]
        yield Case(name="one model, two decoders", graphs=how, texts=texts, models=[model])
    for how in ("eager", *graphs):
        model = tiny_model("gpt2")
        texts = [generated(decoder_of(model, how), 0), by_the_model(model, 1)]
        yield Case(name="one model, and its generate", graphs=how, texts=texts, models=[model])
    model = tiny_model("llama")
    texts = [by_the_model(model, 0), made_anew(model, 1)]
    yield Case(name="one model, and decoders in the making", texts=texts, models=[model])
    one, two = tiny_model("llama"), tiny_model("llama", seed=1)
    same_config(one, two)
    texts = [generated(decoder_of(one), 0), generated(decoder_of(two), 1)]
    yield Case(name="one config, two models", texts=texts, models=[one, two])


def state_of(model: PreTrainedModel) -> tuple[Any, ...]:
    """Return what a decoder must leave as it was."""
    return (
        model.config.get_text_config()._attn_implementation,  # noqa: SLF001
        model.training,
        torch.backends.cuda.cudnn_sdp_enabled(),
        torch.get_default_dtype(),
        torch.is_inference_mode_enabled(),
        [type(module) for module in model.modules()],
    )


def count(case: Case, rounds: int) -> dict[str, Any]:
    """Run a case so many times, and return its row."""
    wanted = [[own_text(model, number) for number in (0, 1)] for model in case.models]
    before = [state_of(model) for model in case.models]
    found = together([text.outcome for text in case.texts], rounds)
    counts = Counter(outcome for each in found for outcome in each)
    try:
        after = [[own_text(model, number) for number in (0, 1)] for model in case.models]
    except Exception:  # noqa: BLE001 -- whatever it is, the model was harmed
        after = []
    unharmed = after == wanted and before == [state_of(model) for model in case.models]
    return {
        "case": case.name,
        "graphs": case.graphs,
        "runs": rounds * len(case.texts),
        **{name: counts[name] for name in OUTCOMES},
        "unharmed": unharmed,
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the counts and keep them.

    Raises:
        SystemExit: If a text was another, or a model was harmed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds a case; keeps nothing")
    parser.add_argument("--rounds", type=int, default=18, help="rounds a case [%(default)s]")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    graphs = ["canonical", "static"]
    if why_uncompilable(torch.device("cpu")) is None:
        graphs.append("compile")
    rounds = 2 if options.quick else options.rounds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [count(case, rounds) for case in track(cases(graphs), transient=True)]
    table = make_table("Texts decoded at once", *rows[0], words=("case", "graphs"))
    for row in rows:
        bad = row["wrong"] or row["error"] or not row["unharmed"]
        table.add_row(*map(str, row.values()), style="bold red" if bad else None)
    Console().print(table)
    if not options.quick:
        write_result("threads", {"tokens": N_TOKENS, "switch_s": SWITCH_S, "cases": rows})
    if any(row["wrong"] or row["error"] or not row["unharmed"] for row in rows):
        raise SystemExit("a text was another, or a model was harmed")


if __name__ == "__main__":
    main()
