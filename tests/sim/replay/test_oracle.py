"""The oracle: every token leaves at its earliest available depth, and nothing is asked or drafted
in vain.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adadecode.engine import AdaDecoder
from adadecode.profiles import Profile
from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import replay
from tests.support.models import tiny_model
from tests.support.synthetic_profile import synthetic_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("oracle") / "p")


@pytest.fixture(scope="module")
def predictor(profile: Profile) -> Predictor:
    return Predictor.of(profile)


def test_the_earliest_depth_is_the_first_from_which_on_all_are_right(predictor: Predictor) -> None:
    """Against the definition, head by head, on every output of every prompt."""
    trace = predictor.trace
    heads = trace.depths[::2]
    for prompt in trace.prompts:
        found = trace.earliest(prompt, heads)
        assert found[0] == trace.n_layers
        for output in range(1, trace.n_output(prompt)):
            right = [
                trace.head(prompt, output, depth)[1] == trace.final(prompt, output)
                for depth in heads
            ]
            wanted = next(
                (depth for i, depth in enumerate(heads) if all(right[i:])), trace.n_layers
            )
            assert found[output] == wanted


def test_every_draft_of_the_oracle_is_accepted_where_it_first_could_be(
    predictor: Predictor,
) -> None:
    """No draft falls, no head is tested in vain, and each exit is the earliest of its output."""
    trace = predictor.trace
    design = Design.of("oracle", placement=trace.depths)
    for run in replay(trace, predictor.latency, design):
        depths = trace.earliest(run.prompt, trace.depths)
        for done in run.rounds:
            first = done.start - run.n_prompt + 1
            assert done.accepted == len(done.exits)
            assert done.checks == done.exits
            assert list(done.exits) == depths[first : first + len(done.exits)].tolist()
        assert not run.left_text
        assert run.modelled_seconds == 0


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.6, 0.9])
def test_the_oracle_is_ahead_of_thresholds_here(predictor: Predictor, gamma: float) -> None:
    """With the same heads and cap, on this trace. Its rates count what could have left."""
    heads = predictor.trace.depths
    ceiling = predictor.predict(Design.of("oracle", placement=heads))
    assert predictor.predict(Design.of(gamma=gamma, placement=heads)).speedup <= ceiling.speedup
    assert (ceiling.reject_rate, ceiling.modelled_share) == (0.0, 0.0)
    assert ceiling.drafts < ceiling.tested


def test_a_head_that_was_not_trained_has_no_earliest_depth(predictor: Predictor) -> None:
    """The error is that of any other design."""
    untrained = next(
        d for d in range(1, predictor.trace.n_layers) if d not in predictor.trace.depths
    )
    with pytest.raises(DesignError, match=f"no head at depth {untrained}"):
        predictor.trace.earliest(0, (untrained,))


def test_the_engine_does_not_pretend_to_know_the_future() -> None:
    """It can be simulated, not run."""
    decoder = AdaDecoder(tiny_model("llama", torch.float32))
    with pytest.raises(DesignError, match="simulate it"):
        decoder.generate(torch.tensor([[1, 2]]), 4, policy="oracle")


def test_the_label_names_the_heads() -> None:
    """It has no gamma, because an oracle has none."""
    assert Design.of("oracle", placement=(2, 5), gamma=0.3).label == "oracle 2/5"
    assert np.all(
        np.array(Design.of("oracle", placement=(2, 5), gamma=1.0).boundaries(8)) == [0, 2, 5, 8]
    )
