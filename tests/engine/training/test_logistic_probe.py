"""The logistic probe: the minimum that it should find, and what it does of one-sided rows."""

from __future__ import annotations

import torch
from scipy.optimize import minimize

from adadecode.engine.training.logistic_probe import RIDGES, fit_probe


def rows_of(count: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal states, good where a known direction says so more often than not."""
    draw = torch.Generator().manual_seed(seed)
    states = torch.randn(count, width, generator=draw, dtype=torch.float64)
    direction = torch.linspace(-2, 2, width, dtype=torch.float64)
    good = torch.rand(count, generator=draw) < torch.sigmoid(states @ direction - 1)
    return states, good


def test_it_finds_the_minimum_that_scipy_finds() -> None:
    """Of the mean log loss and the ridge on standardised coordinates, the bias without one."""
    states, good = rows_of(400, 5)
    ridge = 0.05
    x = (states - states.mean(0)) / states.std(0, unbiased=False)

    def loss(at):
        at = torch.tensor(at, dtype=torch.float64)
        logits = x @ at[:-1] + at[-1]
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, good.double())
        return float(fit + 0.5 * ridge * (at[:-1] ** 2).sum())

    known = minimize(loss, [0.0] * 6, tol=1e-12).x
    probe = fit_probe(states, good, [ridge])
    wanted = x @ torch.tensor(known[:-1]) + known[-1]
    torch.testing.assert_close(probe.logits(states), wanted, rtol=1e-3, atol=1e-3)


def test_the_scale_of_a_coordinate_does_not_matter() -> None:
    """Hidden states have a few coordinates that are far larger than the others."""
    states, good = rows_of(400, 5)
    scaled = states * torch.tensor([1e4, 1, 1e-4, 1, 1]) + torch.tensor([0, 50, 0, 0, 0])
    torch.testing.assert_close(
        fit_probe(scaled, good).logits(scaled),
        fit_probe(states, good).logits(states),
        rtol=1e-5,
        atol=1e-5,
    )


def test_the_ridge_is_chosen_on_rows_that_were_left_out() -> None:
    """Of rows whose goodness depends on nothing the strongest is best, of clear ones a weak one."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 200, generator=draw)
    assert fit_probe(noise, torch.rand(300, generator=draw) < 0.5).ridge == RIDGES[0]
    states, good = rows_of(3000, 5)
    assert fit_probe(states, good).ridge < RIDGES[1]


def test_rows_that_are_all_alike_give_a_probe_that_says_so_of_every_state() -> None:
    states, _ = rows_of(40, 3)
    every, none = torch.ones(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    assert float(torch.sigmoid(fit_probe(states, every).logits(states)).min()) > 0.95
    assert float(torch.sigmoid(fit_probe(states, none).logits(states)).max()) < 0.05


def test_rows_that_can_be_told_apart_do_not_run_away() -> None:
    """Without a ridge the weights of separable rows would grow for ever."""
    states = torch.tensor([[-1.0], [1.0]]).repeat(50, 1)
    probe = fit_probe(states, states[:, 0] > 0)
    assert probe.weight.isfinite().all()
    assert float(probe.weight.abs().max()) < 100
