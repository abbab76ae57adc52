"""Attention over blocks is what each sequence attends to alone, in any company."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adadecode.engine.model.attention import KeyValues, attend
from adadecode.engine.serving.paged_keys_values import PackedRows, PagedKeysValues
from adadecode.engine.serving.row_groups import Rows, grouped, parted
from adadecode.profiles.errors import UnsupportedModel

CPU = torch.device("cpu")
BLOCK = 4
LAYER: Any = SimpleNamespace(layer_idx=0)
PROMPTS = (9, 2, 5)
BLOCKS = ([7, 0, 3, 8], [5, 1], [2, 4, 6, 9])
STEPS = (  # positions [start, stop) of each sequence, those of one batch in a line
    ((0, 9), (0, 2), (0, 3)),
    ((9, 10), (2, 4), (3, 5)),
    ((10, 13), (4, 5), (5, 11)),
    ((12, 14), (3, 6), (7, 9)),  # after a rollback
    ((2, 14),),  # computed again, the prompt and what is beyond it in one chunk
)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "window": {"sliding_window": 4},
    "cap": {"softcap": 2.0},
    "sinks": {"s_aux": torch.linspace(-1, 1, 4, dtype=torch.float64)},
}


def numbers(n: int, heads: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, heads, n, 8), generator=generator, dtype=torch.float64)


def alone(kv: KeyValues, start: int, stop: int, kind: dict[str, Any], *given: torch.Tensor):
    """Return what a sequence attends to by itself; a prompt's positions see as a prompt's do."""
    kv.at(start, stop)
    return attend(kv, LAYER, *given, None, **kind)[0]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [*((kind, {}) for kind in KINDS), ("plain", {0: 3}), ("cap", {0: 3}), ("sinks", {0: 3})],
)
def test_rows_of_many_sequences_attend_as_alone(kind: str, kept: dict[int, int]) -> None:
    like = KeyValues(1, 1, kept)
    like.at(0, 1)
    like.write(0, numbers(1, 2, 0), numbers(1, 2, 0))
    pages = PagedKeysValues(like, 10, BLOCK)
    own = [KeyValues(1, 16, kept) for _ in PROMPTS]
    for number, step in enumerate(STEPS):
        rows: list[Rows] = []
        slots: list[int] = []
        for at, (start, stop) in enumerate(step):
            rows += parted(Rows(len(slots), start, stop, BLOCKS[at], prompt=False), PROMPTS[at])
            slots += [BLOCKS[at][p // BLOCK] * BLOCK + p % BLOCK for p in range(start, stop)]
        query, key, value = (numbers(len(slots), heads, 10 * number) for heads in (4, 2, 2))
        packed = PackedRows(
            positions=torch.zeros(len(slots), dtype=torch.long),
            slots=torch.tensor(slots),
            groups=grouped(rows, BLOCK, CPU),
        )
        got, _ = pages.attend(packed, LAYER, query, key, value, None, **KINDS[kind])
        assert got.shape == (1, len(slots), 4, 8)
        offset = 0
        for at, (start, stop) in enumerate(step):
            cut = slice(offset, offset + stop - start)
            offset = cut.stop
            given = [tensor[:, :, cut] for tensor in (query, key, value)]
            if kept and start < PROMPTS[at]:
                own[at].at(start, stop)  # a prompt is seen whole, in whatever chunks it comes
                own[at].write(0, *given[1:])
                continue
            wanted = alone(own[at], start, stop, KINDS[kind], *given)
            torch.testing.assert_close(got[:, cut], wanted)


def test_rows_are_parted_where_the_prompt_ends() -> None:
    rows = Rows(5, 6, 12, [0, 1, 2], prompt=False)
    first, second = parted(rows, 9)
    assert first == Rows(5, 6, 9, [0, 1, 2], prompt=True)
    assert second == Rows(8, 9, 12, [0, 1, 2], prompt=False)
    assert parted(rows, 6) == [rows]
    assert parted(rows, 3) == [rows]
    assert parted(rows, 12) == [rows._replace(prompt=True)]


def test_short_rows_stand_together_and_long_chunks_alone() -> None:
    def rows(offset: int, start: int, stop: int) -> Rows:
        return Rows(offset, start, stop, list(range(20)), prompt=False)

    few = [rows(0, 9, 10), rows(1, 11, 14), rows(4, 30, 31)]
    long = rows(5, 0, 40)
    groups = grouped([*few, long], BLOCK, CPU)
    assert [list(group.members) for group in groups] == [few[:2], [few[2]], [long]]
    assert [group.rows for group in groups] == [3, 1, 40]
    assert not groups[0].whole
    assert grouped(few[:2], BLOCK, CPU)[0].whole


def test_a_position_bias_is_refused() -> None:
    like = KeyValues(1, 1)
    like.at(0, 1)
    like.write(0, numbers(1, 2, 0), numbers(1, 2, 0))
    packed = PackedRows(positions=torch.zeros(0), slots=torch.zeros(0), groups=[])
    with pytest.raises(UnsupportedModel, match="position bias"):
        PagedKeysValues(like, 1, BLOCK).attend(
            packed, LAYER, *[numbers(1, 2, 0)] * 3, None, position_bias=torch.zeros(1)
        )
