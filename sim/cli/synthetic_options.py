"""What a command line says about heads, made into a model of them and prompts to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.parsing import integers, numbers
from adadecode.sim.synthetic.head_model import Beta, HeadModel, SyntheticError, check_depths
from adadecode.sim.synthetic.rate_fitting import FREE, RateFit, Target, fit_rates
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike

CONCENTRATION = 3.0
"""Of confidences where none is given: `adadecode.sim.synthetic.rate_fitting` finds 4 for Llama-3.1-8B in the paper's figure 5, and heads of the demo model have 0.4 to 3."""

PROMPTS = 32
"""Of each domain, where no number is given and nothing was recorded."""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Heads as they were asked for.

    models: by domain. texts: by domain, the recorded prompts they were taken from, if they were. recorded: that profile. fit: how they were fitted to rates, if they were.
    """

    models: Mapping[str, HeadModel]
    texts: Mapping[str, Sequence[SyntheticPrompt]] = field(default_factory=dict)
    recorded: Profile | None = None
    fit: RateFit | None = None


@dataclass(frozen=True, kw_only=True)
class HeadsAsked:
    """The options that say what the heads are like, and how much they should say; None where not given. `heads` makes heads of them, `sizes` prompts."""

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
    correlations: Mapping[str, float | None]
    prompts: int | None
    prompt_tokens: int | None
    tokens: int | None
    seed: int

    def heads(self, *, apart: bool) -> Heads:
        """apart: each domain of --like by itself, not all of them as one. Raises SyntheticError, DesignError, ProfileError."""
        given = {name: value for name, value in self.correlations.items() if value is not None}
        if self.like is not None:
            said = (
                "layers",
                "depths",
                "agreement",
                "confidence",
                "right",
                "wrong",
                "concentration",
                "rates",
            )
            if given or any(getattr(self, name) is not None for name in said):
                raise SyntheticError(
                    "--like takes every parameter from the recorded trace: leave the others out, or --like"
                )
            return self._alike(read_profile(self.like), apart=apart)
        if self.domains:
            raise SyntheticError("--domain chooses among the domains of --like, which is not given")
        if self.layers is None or self.depths is None:
            raise SyntheticError(
                "wanted --layers and --depths, like --layers 32 --depths 8,16,24, or --like PROFILE"
            )
        return self._told(self.layers, integers("--depths", self.depths), given)

    def sizes(self, heads: Heads, timed: Sequence[SyntheticPrompt] = ()) -> list[SyntheticPrompt]:
        """The prompts to draw: as long as recorded, else as those that latencies were timed on, else all the same; as many of each domain as there, or as asked."""
        prompts: list[SyntheticPrompt] = []
        for domain in heads.models:
            texts = heads.texts.get(domain) or timed
            own = (
                list(islice(cycle(texts), self.prompts or len(texts)))
                if texts
                else alike(self.prompts or PROMPTS)
            )
            prompts += [
                SyntheticPrompt(
                    domain, self.prompt_tokens or one.n_prompt, self.tokens or one.n_output
                )
                for one in own
            ]
        return prompts

    def _alike(self, recorded: Profile, *, apart: bool) -> Heads:
        trace, texts = Trace.from_profile(recorded), recorded_texts(recorded)
        known = {
            domain: tuple(p for p in trace.prompts if trace.domain(p) == domain)
            for domain in map(trace.domain, trace.prompts)
        }
        if not known:
            raise SyntheticError(
                f"{recorded.path} holds latencies alone, and no text to be like: give a profile that adadecode-profile recorded"
            )
        if strange := sorted(set(self.domains or ()) - set(known)):
            raise SyntheticError(
                f"no prompt of the domain {strange[0]!r} in {recorded.path}: it holds {', '.join(known)}"
            )
        chosen = {
            domain: prompts
            for domain, prompts in known.items()
            if domain in (self.domains or known)
        }
        if not apart:
            chosen = {
                "+".join(chosen): tuple(prompt for prompts in chosen.values() for prompt in prompts)
            }
        return Heads(
            models={
                domain: fit_trace(trace, prompts, seed=self.seed)
                for domain, prompts in chosen.items()
            },
            texts={
                domain: [texts[prompt] for prompt in prompts if prompt in texts]
                for domain, prompts in chosen.items()
            },
            recorded=recorded,
        )

    def _told(self, layers: int, depths: list[int], correlations: dict[str, float]) -> Heads:
        check_depths(layers, depths)
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
                raise SyntheticError(
                    "--rates fits one mean confidence by depth: give --confidence, or leave the rates out"
                )
            free = {
                name: min(count, len(depths)) for name, count in FREE.items() if name not in values
            }
            targets = _targets(self.rates)
            fit = fit_rates(
                targets,
                n_layers=layers,
                depths=depths,
                cap=self.cap,
                free=free,
                fixed={**values, **correlations},
                seed=self.seed,
            )
            return Heads(models={"synthetic": fit.model}, fit=fit)
        if "agreement" not in values:
            raise SyntheticError(
                "wanted --agreement by depth, like 0.6,0.75,0.9, or --rates to fit it to"
            )
        values.setdefault("concentration", CONCENTRATION)
        if not sure:
            return Heads(
                models={
                    "synthetic": HeadModel.of(layers, depths, **values, correlations=correlations)
                }
            )
        if self.right is None or self.wrong is None or "confidence" in values:
            raise SyntheticError(
                "wanted both --confidence-right and --confidence-wrong and no --confidence, or --confidence alone"
            )
        means = [
            _each(option, words, len(depths))
            for option, words in (
                ("--confidence-right", self.right),
                ("--confidence-wrong", self.wrong),
            )
        ]
        right, wrong = (
            tuple(Beta.of(mean, values["concentration"]) for mean in part) for part in means
        )
        given: dict[str, Any] = dict(correlations)
        model = HeadModel(
            n_layers=layers,
            depths=tuple(depths),
            agreement=tuple(values["agreement"]),
            right=right,
            wrong=wrong,
            **given,
        )
        return Heads(models={"synthetic": model})


def recorded_texts(profile: Profile) -> dict[int, SyntheticPrompt]:
    """The prompts of a profile before whose outputs heads spoke, by number."""
    rows = profile.prompts.to_dict("records")
    return {
        row["prompt"]: SyntheticPrompt(row["domain"], row["n_prompt"], row["n_output"])
        for row in rows
        if row["n_output"] > 1
    }


def _targets(words: str) -> list[Target]:
    try:
        parts = [word.split(":") for word in words.split(",")]
        return [
            Target(
                float(gamma),
                *(None if rate.strip() == "-" else float(rate) for rate in (early, rejected)),
            )
            for gamma, early, rejected in parts
        ]
    except ValueError:
        raise SyntheticError(
            f"wanted --rates as GAMMA:EARLY:REJECTED between commas, like 0.6:0.93:0.24, got {words!r}"
        ) from None


def _each(option: str, words: str, count: int) -> list[float]:
    """A number for each depth; one alone stands for all."""
    given = numbers(option, words)
    if len(given) not in {1, count}:
        raise SyntheticError(
            f"wanted one number, or one for each of {count} depths, as {option}, got {len(given)}"
        )
    return given * count if len(given) == 1 else given
