"""Random arrivals at a batched decoder of a tiny random model, and each text alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from hypothesis import strategies as st
from transformers import PreTrainedModel

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.engine.serving.batched_text import BatchedText
from adadecode.sim.core.design import Design
from adadecode.sim.serving.batching.segment_order import ORDERS
from tests.support.models import gap_at, random_heads, random_prompt, tiny_model

NEAR_TIE = 1e-4
"""How far apart two best logits may be, relative to the larger, for a batch to exchange them."""

DESIGNS: dict[str, dict[str, Any]] = {
    "vanilla": {"policy": "vanilla"},
    "sure heads": {"policy": "adadecode", "placement": (1, 3, 5), "gamma": 0.2},
    "unsure heads": {"policy": "adadecode", "placement": (2, 4), "gamma": 0.6, "cap": 3},
    "gates": {"policy": "adadecode", "placement": (2, 4), "gamma": 0.1, "gate": 0.5},
    "fixed": {"policy": "fixed", "placement": (4,), "cap": 4},
}


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """A request: the step before which it comes, its prompt and its most tokens."""

    step: int
    n_prompt: int
    seed: int
    budget: int


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Requests, and the limits of the decoder that they come to."""

    design: str
    requests: tuple[Prompted, ...]
    order: str
    kv_blocks: int
    max_num_seqs: int
    max_batched_tokens: int


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    """Any design and order, with requests at any step and little memory."""
    requests = draw(
        st.lists(
            st.builds(
                Prompted,
                step=st.integers(0, 40),
                n_prompt=st.integers(1, 40),
                seed=st.integers(0, 5),
                budget=st.sampled_from([1, 2, 5, 9, 16]),
            ),
            min_size=2,
            max_size=8,
        )
    )
    fewest = max(-(-(one.n_prompt + one.budget - 1) // 4) for one in requests)
    return Arrivals(
        design=draw(st.sampled_from(list(DESIGNS))),
        requests=tuple(requests),
        order=draw(st.sampled_from(ORDERS)),
        kv_blocks=fewest + draw(st.integers(0, 20)),
        max_num_seqs=draw(st.integers(1, 8)),
        max_batched_tokens=draw(st.sampled_from([3, 8, 30, 512])),
    )


class TinyServer:
    """A tiny model whose texts are known alone.

    Args:
        architecture: Of the model.
        dtype: Of the model.
        eos: Tokens that end a text; a large part of the vocabulary, so that texts do end.
    """

    def __init__(
        self, architecture: str, dtype: torch.dtype, eos: tuple[int, ...] = tuple(range(3, 9))
    ) -> None:
        self.model: PreTrainedModel = tiny_model(architecture, dtype)
        self.heads: ExitHeads = random_heads(self.model, range(1, 6), scale=0.5, gates=True)
        self.eos = eos
        self.alone = cache(self._alone)
        self._decoder = AdaDecoder(self.model, self.heads)

    def _alone(self, design: str, n_prompt: int, seed: int, budget: int) -> list[int]:
        return self._decoder.generate(
            random_prompt(n_prompt, seed),
            budget,
            eos_token_id=self.eos,
            **{"gamma": 0.75, **DESIGNS[design]},
        ).tokens

    def decoder(self, arrivals: Arrivals) -> BatchedDecoder:
        """Return a decoder with the limits of these arrivals."""
        return BatchedDecoder(
            self.model,
            self.heads,
            Design.of(**DESIGNS[arrivals.design]),
            max_num_seqs=arrivals.max_num_seqs,
            kv_blocks=arrivals.kv_blocks,
            block_size=4,
            max_batched_tokens=arrivals.max_batched_tokens,
            order=arrivals.order,
            age_limit=4,
            record=True,
        )

    def serve(self, arrivals: Arrivals, decoder: BatchedDecoder) -> list[BatchedText]:
        """Run the requests to their ends, each queued before its step."""
        texts = [
            decoder.text(random_prompt(one.n_prompt, one.seed), one.budget, eos_token_id=self.eos)
            for one in arrivals.requests
        ]
        for tick in range(1 + max(one.step for one in arrivals.requests)):
            for one, text in zip(arrivals.requests, texts, strict=True):
                if one.step == tick:
                    decoder.add(text)
            decoder.step()
        while decoder.step() is not None:
            pass
        return texts

    def differing(self, arrivals: Arrivals, texts: list[BatchedText]) -> Iterator[str]:
        """Yield what differs from the text alone beyond a near-tie."""
        for one, text in zip(arrivals.requests, texts, strict=True):
            alone = self.alone(arrivals.design, one.n_prompt, one.seed, one.budget)
            if text.tokens == alone:
                continue
            pairs = enumerate(zip(alone, text.tokens, strict=False))
            at = next((index for index, (a, b) in pairs if a != b), None)
            prompt = random_prompt(one.n_prompt, one.seed)
            gap = None if at is None else gap_at(self.model, prompt, alone, at)
            if gap is None or gap > NEAR_TIE:
                yield f"{one}: {text.tokens} in place of {alone}, gap {gap} at {at}"
