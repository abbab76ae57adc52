"""Ids of blocks, when the server's blocks have another size than the file's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.serving.workloads.prompt_blocks import PromptBlocks

prompts = st.lists(st.integers(0, 1), min_size=1, max_size=40)
sizes = st.integers(1, 9)


def ids_of(prompt: list[int], size: int) -> list[int]:
    """Return an id for each block, started or full: equal where it and all before it is."""
    ends = [min(end, len(prompt)) for end in range(size, len(prompt) + size, size)]
    return [int("1" + "".join(map(str, prompt[:end])), base=2) for end in ends]


@given(one=prompts, other=prompts, file_size=sizes, size=sizes)
def test_equal_ids_are_equal_prompts(one, other, file_size: int, size: int) -> None:
    """Whatever the sizes, two prompts with an equal id are equal up to the end of the block."""
    made = PromptBlocks(file_size, size)
    found = [made.of(ids_of(prompt, file_size), len(prompt)) for prompt in (one, other)]
    assert [len(blocks) for blocks in found] == [len(one) // size, len(other) // size]
    for index, (ours, theirs) in enumerate(zip(*found, strict=False)):
        end = (index + 1) * size
        assert (ours != theirs) or one[:end] == other[:end]


@given(prompt=prompts, file_size=sizes, size=sizes)
def test_a_prompt_is_equal_to_itself(prompt, file_size: int, size: int) -> None:
    made = PromptBlocks(file_size, size)
    ids = ids_of(prompt, file_size)
    assert made.of(ids, len(prompt)) == made.of(ids, len(prompt))
    assert len(set(made.of(ids, len(prompt)))) == len(prompt) // size


def test_what_has_no_id_is_like_no_other() -> None:
    made = PromptBlocks(16, 16)
    assert made.of([7], 50) == (7, -1, -2)
    assert made.of([7], 50) == (7, -3, -4)
