"""What a command line says about heads, made into a model of them and prompts to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from profiles.store import Profile, read_profile
from profiles.trace import Trace
from sim.fitting import FREE, RateFit, Target, fit_rates
from sim.head_model import Beta, HeadModel, SyntheticError
from sim.likeness import fit_trace
from sim.options import numbers
from sim.synthetic import Prompt, alike

CONCENTRATION = 3.0
"""Of confidences where none is given: `sim.fitting` finds 4 for Llama-3.1-8B in the paper's figure 5 and 1 to 3 on the demo model."""


@dataclass(kw_only=True)
class HeadsAsked:
    """The options that say what the heads are like; `models` makes heads of them."""

    like: Path | None
    domains: Sequence[str] | None
    layers: int | None
    depths: str | None
    agreement: str | None
    confidence: str | None
    right: str | None
    wrong: str | None
    concentration: float | None
    rates: str | None
    cap: int
    correlations: dict[str, float | None]
    prompts: int | None
    prompt_tokens: int | None
    tokens: int | None
    seed: int
    fit: RateFit | None = field(init=False, default=None)
    recorded: Profile | None = field(init=False, default=None)

    def models(self, *, apart: bool) -> dict[str, HeadModel]:
        """By domain; one for all domains of --like unless ``apart``. Raises SyntheticError, ProfileError."""
        given = {name: value for name, value in self.correlations.items() if value is not None}
        if self.like is not None:
            said = ("layers", "depths", "agreement", "confidence", "right", "wrong", "concentration", "rates")
            if given or any(getattr(self, name) is not None for name in said):
                raise SyntheticError("--like takes every parameter from the recorded trace: leave the others out, or --like")
            self.recorded = read_profile(self.like)
            trace = Trace.from_profile(self.recorded)
            chosen = {domain: tuple(p for p in trace.prompts if trace.domain(p) == domain) for domain in self._domains(trace)}
            if not apart:
                chosen = {"+".join(chosen): tuple(prompt for prompts in chosen.values() for prompt in prompts)}
            return {domain: fit_trace(trace, prompts, seed=self.seed) for domain, prompts in chosen.items()}
        if self.domains:
            raise SyntheticError("--domain chooses among the domains of --like, which is not given")
        if self.layers is None or self.depths is None:
            raise SyntheticError("wanted --layers and --depths, like --layers 32 --depths 8,16,24, or --like PROFILE")
        return {"synthetic": self._asked(whole_numbers("--depths", self.depths), given)}

    def sizes(self, models: dict[str, HeadModel], count: int | None, recorded: Profile | None) -> list[Prompt]:
        """The prompts to draw: as recorded where there is a recording, ``count`` of each domain (as many as recorded, by default)."""
        prompts: list[Prompt] = []
        for domain in models:
            own = alike(count or 32, domain=domain)
            if recorded is not None and len(recorded.prompts):
                rows = recorded.prompts
                of_domain = rows[rows["domain"].isin(domain.split("+"))]
                rows = of_domain if len(of_domain) else rows
                pairs = [(int(n), int(out)) for n, out in zip(rows["n_prompt"], rows["n_output"], strict=True) if out > 1]
                own = [Prompt(domain, *pair) for pair in islice(cycle(pairs), count or len(pairs))]
            prompts += [Prompt(domain, self.prompt_tokens or one.n_prompt, self.tokens or one.n_output) for one in own]
        return prompts

    def _domains(self, trace: Trace) -> list[str]:
        known = list(dict.fromkeys(map(trace.domain, trace.prompts)))
        if strange := sorted(set(self.domains or ()) - set(known)):
            raise SyntheticError(f"no prompt of the domain {strange[0]!r} in {self.like}: it holds {', '.join(known)}")
        return [domain for domain in known if domain in (self.domains or known)]

    def _asked(self, depths: list[int], correlations: dict[str, float]) -> HeadModel:
        assert self.layers is not None
        values: dict[str, Any] = {
            name: _each(f"--{name}", words, len(depths))
            for name, words in (("agreement", self.agreement), ("confidence", self.confidence))
            if words is not None
        }
        if self.concentration is not None:
            values["concentration"] = self.concentration
        sure = self.right is not None or self.wrong is not None
        if self.rates is not None:
            if sure:
                raise SyntheticError("--rates fits one mean confidence by depth: give --confidence, or leave the rates out")
            free = {name: min(count, len(depths)) for name, count in FREE.items() if name not in values}
            targets = _targets(self.rates)
            self.fit = fit_rates(
                targets, n_layers=self.layers, depths=depths, cap=self.cap, free=free, fixed={**values, **correlations}, seed=self.seed
            )
            return self.fit.model
        if "agreement" not in values:
            raise SyntheticError("wanted --agreement by depth, like 0.6,0.75,0.9, or --rates to fit it to")
        values.setdefault("concentration", CONCENTRATION)
        if not sure:
            return HeadModel.of(self.layers, depths, **values, correlations=correlations)
        if self.right is None or self.wrong is None or "confidence" in values:
            raise SyntheticError("wanted both --confidence-right and --confidence-wrong and no --confidence, or --confidence alone")
        means = [
            _each(option, words, len(depths)) for option, words in (("--confidence-right", self.right), ("--confidence-wrong", self.wrong))
        ]
        right, wrong = (tuple(Beta.of(mean, values["concentration"]) for mean in part) for part in means)
        given: dict[str, Any] = dict(correlations)
        return HeadModel(
            n_layers=self.layers, depths=tuple(depths), agreement=tuple(values["agreement"]), right=right, wrong=wrong, **given
        )


def _targets(words: str) -> list[Target]:
    try:
        parts = [word.split(":") for word in words.split(",")]
        return [
            Target(float(gamma), *(None if rate.strip() == "-" else float(rate) for rate in (early, rejected)))
            for gamma, early, rejected in parts
        ]
    except ValueError:
        raise SyntheticError(f"wanted --rates as GAMMA:EARLY:REJECTED between commas, like 0.6:0.93:0.24, got {words!r}") from None


def whole_numbers(option: str, words: str) -> list[int]:
    """Whole numbers between commas. Raises DesignError."""
    return [int(number) for number in numbers(option, words, int)]


def _each(option: str, words: str, count: int) -> list[float]:
    """A number for each depth; one alone stands for all."""
    given = numbers(option, words, float)
    if len(given) not in {1, count}:
        raise SyntheticError(f"wanted one number, or one for each of {count} depths, as {option}, got {len(given)}")
    return given * count if len(given) == 1 else given
