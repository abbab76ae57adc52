"""Heads and prompts to draw, made from the options that describe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Any

from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.cli.options.synthetic import (
    CONCENTRATION,
    PROMPTS,
    HeadOptions,
    TextOptions,
)
from adadecode.sim.synthetic.free_parameters import FREE
from adadecode.sim.synthetic.head_model import Beta, HeadModel, SyntheticError, check_depths
from adadecode.sim.synthetic.rate_fitting import RateFit, fit_rates
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike


@dataclass(frozen=True, kw_only=True)
class DescribedHeads:
    """Heads as the options describe them.

    Attributes:
        models: The heads of each domain.
        texts: By domain, the recorded prompts that they were fitted to, if they were.
        recorded: The profile that they were fitted to, if they were.
        fit: How they were fitted to rates, if they were.
    """

    models: Mapping[str, HeadModel]
    texts: Mapping[str, Sequence[SyntheticPrompt]] = field(default_factory=dict)
    recorded: Profile | None = None
    fit: RateFit | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """Where the heads are from, for a manifest and for ``--json``."""
        if self.recorded is not None:
            return {"like": self.recorded.name, "digest": self.recorded.manifest["digest"]}
        if self.fit is not None:
            return {"rates": self.fit.rows.to_dict("records"), "fitted": dict(self.fit.free)}
        return {"options": "given"}


def describe_heads(options: HeadOptions, *, seed: int, by_domain: bool) -> DescribedHeads:
    """Return the heads that options describe.

    Args:
        options: What the user gave.
        seed: Of what is drawn while heads are fitted.
        by_domain: Whether each domain of a recorded profile has heads of its own, or all of them
            have the same.

    Raises:
        SyntheticError: If the options contradict each other, or no heads can be like that.
        ProfileError: If the profile to be like cannot be read, or holds no text.
    """
    heads = _described(options, seed=seed, by_domain=by_domain)
    if options.gate_quality is None:
        return heads
    quality = options.gate_quality
    models = {domain: model.with_gates(quality) for domain, model in heads.models.items()}
    return replace(heads, models=models)


def _described(options: HeadOptions, *, seed: int, by_domain: bool) -> DescribedHeads:
    if options.like is not None:
        return _fit_recorded(options, read_profile(options.like), seed=seed, by_domain=by_domain)
    assert options.layers is not None
    assert options.depths is not None
    check_depths(options.layers, options.depths)
    if options.rates is not None:
        return _fit_rates(options, options.layers, options.depths, seed)
    model = _model(options, options.layers, options.depths)
    return DescribedHeads(models={"synthetic": model})


def prompts_to_draw(
    heads: DescribedHeads,
    count: int | None,
    options: TextOptions,
    timed: Sequence[SyntheticPrompt] = (),
) -> list[SyntheticPrompt]:
    """Return the prompts to draw.

    Args:
        heads: The heads to draw for, which may have been fitted to recorded prompts.
        count: How many of each domain; by default as many as there, or as latencies were timed on.
        options: Their lengths; by default those of the recorded prompts, or else of the timed ones,
            or else all the same.
        timed: The prompts that latencies were timed on.
    """
    prompts: list[SyntheticPrompt] = []
    for domain in heads.models:
        texts = heads.texts.get(domain) or timed
        lengths = (
            list(islice(cycle(texts), count or len(texts))) if texts else alike(count or PROMPTS)
        )
        prompts += [
            SyntheticPrompt(
                domain, options.prompt_tokens or one.n_prompt, options.tokens or one.n_output
            )
            for one in lengths
        ]
    return prompts


def recorded_texts(profile: Profile) -> dict[int, SyntheticPrompt]:
    """Return the prompts of a profile that heads had something to predict after, by number."""
    rows = profile.prompts.to_dict("records")
    return {
        row["prompt"]: SyntheticPrompt(row["domain"], row["n_prompt"], row["n_output"])
        for row in rows
        if row["n_output"] > 1
    }


def _fit_recorded(
    options: HeadOptions, recorded: Profile, *, seed: int, by_domain: bool
) -> DescribedHeads:
    trace, texts = Trace.from_profile(recorded), recorded_texts(recorded)
    chosen = _prompts_by_domain(trace, recorded, options.domains)
    if not by_domain:
        chosen = {
            "+".join(chosen): tuple(prompt for prompts in chosen.values() for prompt in prompts)
        }
    return DescribedHeads(
        models={domain: fit_trace(trace, prompts, seed=seed) for domain, prompts in chosen.items()},
        texts={
            domain: [texts[prompt] for prompt in prompts if prompt in texts]
            for domain, prompts in chosen.items()
        },
        recorded=recorded,
    )


def _prompts_by_domain(
    trace: Trace, recorded: Profile, wanted: Sequence[str] | None
) -> dict[str, tuple[int, ...]]:
    """Return the prompts of each domain, of all or of those wanted. Raises SyntheticError."""
    known: dict[str, tuple[int, ...]] = {}
    for prompt in trace.prompts:
        domain = trace.domain(prompt)
        known[domain] = (*known.get(domain, ()), prompt)
    if not known:
        raise SyntheticError(
            f"{recorded.path} holds latencies alone, and no text to be like: give a profile that "
            "adadecode-profile recorded"
        )
    if strange := sorted(set(wanted or ()) - set(known)):
        raise SyntheticError(
            f"no prompt of the domain {strange[0]!r} in {recorded.path}: it holds "
            f"{', '.join(known)}"
        )
    return {domain: prompts for domain, prompts in known.items() if domain in (wanted or known)}


def _fit_rates(
    options: HeadOptions, layers: int, depths: Sequence[int], seed: int
) -> DescribedHeads:
    """Fit what is not given to rates. Raises SyntheticError."""
    if options.confidence_right is not None or options.confidence_wrong is not None:
        raise SyntheticError(
            "--rates fits one mean confidence by depth: give --confidence, or leave the rates out"
        )
    assert options.rates is not None
    given = _given(options, len(depths))
    fit = fit_rates(
        options.rates,
        n_layers=layers,
        depths=list(depths),
        cap=options.cap,
        free={name: min(count, len(depths)) for name, count in FREE.items() if name not in given},
        fixed={**given, **options.correlations},
        seed=seed,
    )
    return DescribedHeads(models={"synthetic": fit.model}, fit=fit)


def _model(options: HeadOptions, layers: int, depths: Sequence[int]) -> HeadModel:
    """Return the heads that are given in full. Raises SyntheticError."""
    given = _given(options, len(depths))
    if "agreement" not in given:
        raise SyntheticError(
            "wanted --agreement by depth, like 0.6,0.75,0.9, or --rates to fit it to"
        )
    given.setdefault("concentration", CONCENTRATION)
    right, wrong = options.confidence_right, options.confidence_wrong
    if right is None and wrong is None:
        return HeadModel.of(layers, depths, **given, correlations=options.correlations)
    if right is None or wrong is None or "confidence" in given:
        raise SyntheticError(
            "wanted both --confidence-right and --confidence-wrong and no --confidence, or "
            "--confidence alone"
        )
    correlations: dict[str, Any] = dict(options.correlations)
    return HeadModel(
        n_layers=layers,
        depths=tuple(depths),
        agreement=tuple(given["agreement"]),
        right=_betas("--confidence-right", right, len(depths), given["concentration"]),
        wrong=_betas("--confidence-wrong", wrong, len(depths), given["concentration"]),
        **correlations,
    )


def _given(options: HeadOptions, heads: int) -> dict[str, Any]:
    """Return what is given of agreement, confidence and concentration, by these names."""
    given: dict[str, Any] = {}
    if options.agreement is not None:
        given["agreement"] = _by_head("--agreement", options.agreement, heads)
    if options.confidence is not None:
        given["confidence"] = _by_head("--confidence", options.confidence, heads)
    if options.concentration is not None:
        given["concentration"] = options.concentration
    return given


def _betas(
    option: str, means: Sequence[float], heads: int, concentration: float
) -> tuple[Beta, ...]:
    return tuple(Beta.of(mean, concentration) for mean in _by_head(option, means, heads))


def _by_head(option: str, given: Sequence[float], heads: int) -> list[float]:
    """Return a number for each head; one alone stands for all. Raises SyntheticError."""
    if len(given) not in {1, heads}:
        raise SyntheticError(
            f"wanted one number, or one for each of {heads} depths, as {option}, got {len(given)}"
        )
    return list(given) * heads if len(given) == 1 else list(given)
