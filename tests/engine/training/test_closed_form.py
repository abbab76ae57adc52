"""The closed form: what is least in squares, found in one pass and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.training import closed_form as closed_form_module
from adadecode.engine.training.closed_form import (
    RIDGES,
    Moments,
    closed_form,
    closed_form_bytes,
    kept_closed_form,
    logit_metric,
    ridge_solution,
)
from adadecode.engine.training.hidden_state_store import Shard, States
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.profiles.errors import InputError
from tests.support.models import tiny_model

WIDTH = 64


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of(SegmentedModel(tiny_model("llama", torch.float32)))


def stored(folder: Path, states: torch.Tensor) -> States:
    path = folder / "states.safetensors"
    likely = torch.zeros(len(states), 1, dtype=torch.int32)
    save_file({"states": states.half(), "likely": likely}, path)
    return States([Shard(path=path, rows=len(states), nbytes=states.numel() * 2)])


def related(rows: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return states (rows, 2, d), and the matrix that led from the first to the last but noise."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.eye(WIDTH) + 0.3 * torch.randn(WIDTH, WIDTH, generator=generator)
    early = torch.randn(rows, WIDTH, generator=generator)
    final = early @ matrix.T + noise * torch.randn(rows, WIDTH, generator=generator)
    return torch.stack([early, final], 1), matrix


def test_the_matrix_that_made_the_last_layer_is_found(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """From states of 16 bits, with a little noise, to about the noise over the root of the rows."""
    states, matrix = related(4000, 0.01)
    (found,) = closed_form(stored(tmp_path, states), vocabulary)
    assert float((found - matrix).abs().max()) < 2e-3


def test_few_positions_keep_it_near_the_identity(vocabulary: Vocabulary, tmp_path: Path) -> None:
    """Fewer than there are unknowns in a row: least squares alone would fit the noise."""
    states, _ = related(40, 1.0)
    states[:, 1] = states[:, 0] + (states[:, 1] - states[:, 0]) * 0.1
    (found,) = closed_form(stored(tmp_path, states), vocabulary)
    fresh, _ = related(2000, 0.0)
    wanted = fresh[:, 0] + (fresh[:, 1] - fresh[:, 0]) * 0.1
    miss = (fresh[:, 0] @ found.T - wanted).square().mean()
    assert miss < 1.5 * (fresh[:, 0] - wanted).square().mean()


def test_the_ridge_pulls_to_the_identity() -> None:
    """As the formula says, and all the way where it is large."""
    states, _ = related(200, 0.1)
    x, y = states.double().unbind(1)
    moments = Moments(xx=x.T @ x, xy=x.T @ y)
    ridge = 0.5 * float(moments.xx.diagonal().mean())
    eye = torch.eye(WIDTH, dtype=torch.float64)
    plain = torch.linalg.lstsq(
        torch.cat([x, ridge**0.5 * eye]), torch.cat([y, ridge**0.5 * eye])
    ).solution.T
    near, far = ridge_solution(moments, 0.5), ridge_solution(moments, 1e9)
    assert near is not None
    assert far is not None
    torch.testing.assert_close(near, plain)
    torch.testing.assert_close(far, eye, rtol=0, atol=1e-6)


def test_the_metric_is_the_square_error_of_logits(vocabulary: Vocabulary) -> None:
    """Of logits less their mean over the vocabulary: a shift changes no distribution."""
    step = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    logits = vocabulary.weight.double() @ step
    wanted = (logits - logits.mean()).square().mean()
    torch.testing.assert_close(step @ logit_metric(vocabulary) @ step, wanted)


def test_it_is_kept_and_found_again(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And made again where the file is of other training."""
    states = stored(tmp_path, related(500, 0.1)[0])
    calls: list[int] = []

    def kept(run: str) -> torch.Tensor:
        return kept_closed_form(
            tmp_path, {"run": run}, (3,), states, vocabulary, calls.append, run=tmp_path
        )[0]

    first = kept("a")
    with monkeypatch.context() as patch:
        patch.setattr(
            "adadecode.engine.training.closed_form.closed_form",
            lambda *_, run: pytest.fail(f"again in {run}"),
        )
        assert torch.equal(kept("a"), first)
        with pytest.raises(pytest.fail.Exception, match="again"):
            kept("b")
    assert calls == [1, 1]


def test_depths_of_wide_models_are_solved_in_turn(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums of as many as fit stand in memory, and the matrices are the same, bit by bit."""
    generator = torch.Generator().manual_seed(1)
    states = stored(tmp_path, torch.randn(600, 6, WIDTH, generator=generator))
    passes: list[int] = []
    moments = closed_form_module._moments

    def counted(states: States, chosen: range, device: torch.device) -> Any:
        passes.append(len(chosen))
        return moments(states, chosen, device)

    monkeypatch.setattr(closed_form_module, "_moments", counted)
    together = closed_form(states, vocabulary)
    needed = closed_form_bytes(WIDTH, 5)
    monkeypatch.setattr(closed_form_module, "SUMS_BYTES", 2 * 4 * 8 * WIDTH**2)
    in_turn = closed_form(states, vocabulary)
    assert passes == [5, 2, 2, 1]
    assert all(map(torch.equal, together, in_turn))
    assert closed_form_bytes(WIDTH, 5) < needed


def test_the_sums_of_a_wide_model_take_little_more_for_more_depths() -> None:
    """Of 8,192 numbers, 79 heads: those of all depths at once would take 170 GB."""
    assert closed_form_bytes(8192, 79) - closed_form_bytes(8192, 1) == 78 * 4 * 8192**2
    assert closed_form_bytes(8192, 1) > 8 * 8192**2 * 5  # the sums of a depth, and the metric


def test_ridges_that_leave_it_undetermined_are_passed_over(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """Numbers that are large together: their sums in FP32 are off by more than the least ridge."""
    states, _ = related(40, 0.1)
    states[..., :16] = 300 * states[..., :1] * torch.linspace(0.5, 1, 16)
    early = states[:, 0].half().float()
    sums = (early.T @ early).double()
    assert ridge_solution(Moments(xx=sums, xy=sums), min(RIDGES)) is None
    (found,) = closed_form(stored(tmp_path, states), vocabulary)
    assert bool(found.isfinite().all())


def test_states_that_determine_nothing_are_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    """All zeros: the message names what to do, into another folder."""
    states = stored(tmp_path, torch.zeros(20, 2, WIDTH))
    with pytest.raises(
        InputError,
        match=rf"about {WIDTH} positions .*, got 20 that leave it undetermined: train on more "
        r"prompts, or with --start identity, with --out OTHER --reuse out/heads$",
    ):
        closed_form(states, vocabulary, run=Path("out/heads"))
