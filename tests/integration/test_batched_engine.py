"""The batched engine on every architecture and on the demo model, and its replay (tier T0)."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import Demo, load_demo
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.engine.serving.batched_text import BatchedText
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Schedule
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import Batcher
from adadecode.sim.serving.batching.block_pool import BlockPool
from adadecode.sim.serving.batching.replayed_batches import replayed_steps
from adadecode.sim.serving.batching.segment_order import ORDERS, segment_order
from adadecode.sim.serving.batching.step_record import event_table, steps_of, work_table
from tests.support.batched_patterns import NEAR_TIE, Arrivals, Prompted, TinyServer
from tests.support.models import WINDOW, architectures, gap_at
from tests.support.quick import quick_or_slow

DESIGN = Design.of(gamma=0.5, placement=(2, 4, 8))
LIMITS = {"max_num_seqs": 32, "max_batched_tokens": 96}
BLOCKS = 150
NEW = 24


@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["FP64", "FP32"])
def test_each_text_is_that_of_its_prompt_alone(architecture: str, dtype: torch.dtype) -> None:
    """Prompts longer than the windows, in chunks, with little memory.

    A mixture of experts rounds a row by how many share its expert, and chooses experts by a hair.
    """
    tiny = TinyServer(architecture, dtype, eos=())
    pattern = Arrivals(
        design="sure heads",
        requests=tuple(
            Prompted(step=2 * k, n_prompt=3 + k * WINDOW, seed=k, budget=14) for k in range(5)
        ),
        order="largest",
        kv_blocks=24,
        max_num_seqs=4,
        max_batched_tokens=20,
    )
    decoder = tiny.decoder(pattern)
    texts = tiny.serve(pattern, decoder)
    assert list(tiny.differing(pattern, texts)) == []
    assert any(step.batch.preempted for step in decoder.steps)
    assert any(len(step.batch.spans) > 1 for step in decoder.steps)


# -- the demo model --------------------


@cache
def demo() -> Demo:
    return load_demo()


def ids_of(number: int) -> torch.Tensor:
    examples = demo().examples
    text = examples[number % len(examples)].text
    ids: torch.Tensor = demo().tokenizer(text, return_tensors="pt")["input_ids"]
    return ids[:, : 20 + 5 * (number % 7)]


def served(count: int, order: str) -> tuple[BatchedDecoder, list[BatchedText]]:
    """Serve requests of the demo model, a few of which come later."""
    decoder = BatchedDecoder(
        demo().model, demo().heads, DESIGN, kv_blocks=BLOCKS, order=order, record=True, **LIMITS
    )
    texts = [decoder.text(ids_of(number), NEW, eos_token_id=()) for number in range(count)]
    for number, text in enumerate(texts):
        decoder.add(text)
        if number >= count // 2:
            decoder.step()
    while decoder.step() is not None:
        pass
    return decoder, texts


@pytest.mark.parametrize(
    ("count", "order"),
    [
        quick_or_slow((count, order), quick=[(8, "largest"), (16, "lockstep")])
        for count in (8, 16, 32)
        for order in ORDERS
    ],
)
def test_a_replay_forms_the_batches_of_the_run(count: int, order: str) -> None:
    """T0: the same segments, sequences, positions and accepts, step by step."""
    decoder, texts = served(count, order)
    recorded = steps_of(work_table(decoder.steps), event_table(decoder.steps))
    assert recorded == decoder.steps
    lengths = {text.name: len(text.prompt) for text in texts}

    def sequence(name: str) -> BatchedSequence:
        n_prompt = lengths[name]
        return BatchedSequence(
            name,
            n_prompt=n_prompt,
            most_positions=n_prompt + NEW - 1,
            n_segments=4,
            make_schedule=lambda first: Schedule(
                design=DESIGN,
                n_layers=16,
                n_prompt=n_prompt,
                first_token=first,
                max_new_tokens=NEW,
            ),
        )

    batcher = Batcher(order=segment_order(order), pool=BlockPool(BLOCKS), **LIMITS)
    assert list(replayed_steps(recorded, batcher, sequence)) == decoder.steps


def test_texts_of_the_demo_model_are_its_own() -> None:
    _, texts = served(6, "largest")
    alone = AdaDecoder(demo().model, demo().heads)
    for number, text in enumerate(texts):
        wanted = alone.generate(ids_of(number), NEW, policy="vanilla", eos_token_id=()).tokens
        if text.tokens != wanted:
            at = next(i for i, (a, b) in enumerate(zip(wanted, text.tokens)) if a != b)  # noqa: B905
            assert gap_at(demo().model, ids_of(number), wanted, at) < NEAR_TIE


def test_stop_strings_end_a_text_where_they_end_it_alone() -> None:
    """Also of texts that lose their keys and values in between."""
    alone = AdaDecoder(demo().model, demo().heads)
    decoder = BatchedDecoder(demo().model, demo().heads, DESIGN, kv_blocks=21, block_size=4)
    wanted, texts = [], []
    for number in range(3):
        whole = alone.generate(ids_of(number), NEW, policy="vanilla", eos_token_id=()).tokens
        piece = demo().tokenizer.decode(whole[NEW // 2 : NEW // 2 + 2])
        stop = {"stop_strings": piece, "tokenizer": demo().tokenizer, "eos_token_id": ()}
        wanted.append(alone.generate(ids_of(number), NEW, policy="vanilla", **stop).tokens)
        texts.append(decoder.text(ids_of(number), NEW, **stop))
        decoder.add(texts[-1])
    while decoder.step() is not None:
        pass
    assert [text.tokens for text in texts] == wanted
    assert any(len(tokens) < NEW for tokens in wanted)
    assert sum(text.sequence.preemptions for text in texts) > 0
