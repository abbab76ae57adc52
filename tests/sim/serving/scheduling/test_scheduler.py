"""Which requests a scheduler computes in which step, worked out by hand."""

from __future__ import annotations

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.scheduling.scheduler import Scheduler, Step
from adadecode.sim.serving.scheduling.settings import ServerSettings
from tests.support.serving import request


def scheduler(**settings: int | bool) -> Scheduler:
    """Return a scheduler of blocks of 4 positions."""
    return Scheduler(
        ServerSettings(
            **{"kv_blocks": 101, "block_size": 4, "async_scheduling": False} | settings  # type: ignore[arg-type]
        )
    )


def formed(found: Scheduler) -> tuple[list[tuple[int, int]], list[int]]:
    """Form the next step, finish it, and return its chunks and contexts."""
    step = found.next_step(0.0)
    assert step is not None
    found.finish(step, 0.0)
    return [tuple(chunk) for chunk in step.work.chunks], step.work.contexts


def test_a_prompt_is_cut_into_chunks_and_decoding_goes_first() -> None:
    found = scheduler(max_batched_tokens=8)
    found.add(request("a", n_prompt=4, n_output=9))
    found.add(request("b", n_prompt=10, n_output=2))
    assert formed(found) == ([(4, 0), (4, 0)], [])
    assert formed(found) == ([(6, 4)], [4])
    assert formed(found) == ([], [5, 10])
    assert formed(found) == ([], [6])


def test_no_more_sequences_run_than_are_allowed() -> None:
    found = scheduler(max_num_seqs=2)
    for name in "abc":
        found.add(request(name, n_prompt=4, n_output=2))
    assert formed(found) == ([(4, 0), (4, 0)], [])
    assert formed(found) == ([], [4, 4])
    assert formed(found) == ([(4, 0)], [])


def test_the_most_recently_admitted_one_is_computed_again() -> None:
    # Five blocks can be had: two each, and the fifth for the one that asks first.
    found = scheduler(kv_blocks=6, prefix_caching=False)
    found.add(request("a", n_prompt=8, n_output=4))
    found.add(request("b", n_prompt=8, n_output=3))
    assert formed(found)[0] == [(8, 0), (8, 0)]
    found.add(request("c", n_prompt=1, n_output=1))
    step = found.next_step(0.0)
    assert step is not None
    assert step.preempted == 1
    # Nobody is admitted in a step in which someone lost blocks.
    assert step.work.contexts == [8]
    assert [one.request.name for one in found.waiting] == ["b", "c"]
    found.finish(step, 0.0)
    # "b" has 9 tokens by now, for three blocks: it waits for "a" to end, and "c" waits behind it.
    assert formed(found) == ([], [9])
    assert formed(found) == ([], [10])
    assert formed(found) == ([(9, 0)], [0])
    assert not found.waiting


def test_a_prompt_that_is_in_the_cache_is_not_computed() -> None:
    found = scheduler()
    found.add(request("a", n_prompt=10, n_output=1, blocks=(7, 8)))
    formed(found)
    found.add(request("b", n_prompt=12, n_output=1, blocks=(7, 8, 9)))
    assert formed(found) == ([(4, 8)], [])
    # The last token is computed in any case, and with it the whole block.
    found.add(request("c", n_prompt=8, n_output=1, blocks=(7, 8)))
    assert formed(found) == ([(4, 4)], [])
    assert found.cache.n_used == 0
    assert found.hit_tokens == 12


def test_a_cached_block_is_lost_when_it_is_taken() -> None:
    found = scheduler(kv_blocks=4)
    found.add(request("a", n_prompt=8, n_output=1, blocks=(1, 2)))
    formed(found)
    # Blocks are freed from the end of a text, and the first one freed is the first one taken.
    found.add(request("b", n_prompt=8, n_output=1, blocks=(3, 4)))
    formed(found)
    found.add(request("c", n_prompt=9, n_output=1, blocks=(1, 2)))
    assert formed(found) == ([(5, 4)], [])


def test_a_request_that_lost_its_blocks_finds_those_that_are_still_there() -> None:
    found = scheduler(kv_blocks=6)
    found.add(request("a", n_prompt=8, n_output=2, blocks=(1, 2)))
    found.add(request("b", n_prompt=8, n_output=3, blocks=(3, 4)))
    formed(found)
    step = found.next_step(0.0)
    assert step is not None
    assert step.preempted == 1
    found.finish(step, 0.0)
    assert formed(found) == ([], [8])


def test_a_whole_prompt_has_to_fit_where_that_is_asked() -> None:
    for reserve, expected in ((True, [(8, 0)]), (False, [(8, 0), (4, 0)])):
        found = scheduler(kv_blocks=5, max_batched_tokens=12, reserve_whole_prompt=reserve)
        found.add(request("a", n_prompt=8, n_output=1))
        found.add(request("b", n_prompt=16, n_output=1))
        assert formed(found)[0] == expected


def test_a_step_formed_ahead_counts_tokens_that_are_on_their_way() -> None:
    found = scheduler(async_scheduling=True)
    found.add(request("a", n_prompt=4, n_output=2))
    steps = [found.next_step(0.0), found.next_step(0.0)]
    assert [one.work.contexts for one in steps if one] == [[], [4]]
    # Both tokens are on their way: there is nothing left to compute.
    assert found.next_step(0.0) is None
    for step in steps:
        assert isinstance(step, Step)
        found.finish(step, 1.0)
    assert found.n_unfinished == 0
    assert found.cache.n_used == 0


@pytest.mark.parametrize(
    "wrong",
    [{"kv_blocks": 0}, {"block_size": 0}, {"max_num_seqs": 1.5}, {"kv_blocks": 1}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="wanted"):
        ServerSettings(**{"kv_blocks": 9} | wrong)
