"""Predict a design: seconds per token, speedup, and how often heads are used and right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Round
from adadecode.sim.measurements.runs import Cell
from adadecode.sim.prediction.branch_error import BranchErrors, branch_errors, rejecting_cells
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.simulation import ReplayedRun, replay


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One design on some prompts of a profile. Seconds; shares in 0..1.

    Attributes:
        design: The design.
        prompts: Number of prompts.
        tokens: Output tokens of all prompts.
        decode_s: Decoding time of all prompts.
        ttft_s: Time to first token, the mean prefill.
        tpot_s: Time per output token: decoding time / (outputs - 1 of each prompt).
        tokens_per_s: 1 / ``tpot_s``.
        speedup: Vanilla's ``tpot_s`` on the same prompts / this one's.
        early_rate: Drafts / positions at which a gate or head was asked; 0 where none was.
        reject_rate: Drafts discarded / drafts, as the paper counts them (everything from the first
            wrong one on); 0 without drafts.
        tokens_per_round: Tokens committed by a round, in the mean.
        modelled_share: Share of the time in rounds that rest on branches not recorded.
        modelled_error: Relative error of the time to expect from these, by
            `BranchErrors.expected`; None where it was not measured.
        rounds: Number of rounds.
        drafts: Number of drafts.
        accepted: Number of drafts that held.
        tested: Positions at which at least one gate or head was asked.
        checks: Number of head checks.
        gates_asked: Number of questions to gates.
        texts_differ: Prompts whose text is not vanilla's (unverified designs only).
    """

    design: Design
    prompts: int
    tokens: int
    decode_s: float
    ttft_s: float
    tpot_s: float
    tokens_per_s: float
    speedup: float
    early_rate: float
    reject_rate: float
    tokens_per_round: float
    modelled_share: float
    modelled_error: float | None
    rounds: int
    drafts: int
    accepted: int
    tested: int
    checks: int
    gates_asked: int
    texts_differ: int

    def to_dict(self) -> dict[str, Any]:
        """Return every field as JSON holds it, the design as its label and its parts.

        Gates are told of where the design asks any.
        """
        fields = {**asdict(self), "design": {"label": self.design.label, **self.design.parts()}}
        if not self.design.gates:
            del fields["gates_asked"]
        return fields


@dataclass(kw_only=True)
class Predictor:
    """Predicts many designs on one trace with the latencies of one device; keeps vanilla's time.

    Attributes:
        trace: The text and the outputs of its heads.
        latency: What the work takes.
        rejecting: Measured cells that discarded drafts. The error of the branch model is measured
            on them, once it is needed.
        model: The model of branches that were not recorded.
    """

    trace: Trace
    latency: Latencies
    rejecting: Sequence[Cell] = ()
    model: BranchModel = field(init=False)
    _vanilla: dict[tuple[int, ...], float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.model = BranchModel(self.trace)

    @classmethod
    def of(cls, profile: Profile) -> Predictor:
        """Make a predictor of a profile's trace, latencies and measured cells.

        Raises:
            ProfileError: If the profile holds latencies alone.
        """
        if profile.prompts.empty:
            raise ProfileError(
                f"{profile.path} holds latencies alone, and no text to replay: give a profile that "
                "adadecode-profile recorded"
            )
        return cls(
            trace=Trace.from_profile(profile),
            latency=profile.latency_table,
            rejecting=rejecting_cells(profile),
        )

    @cached_property
    def branch_errors(self) -> BranchErrors:
        """How far the branch model errs on this profile."""
        return branch_errors(self.model, self.latency, self.rejecting)

    def prompts(self, domains: Iterable[str] | None = None) -> tuple[int, ...]:
        """Return the prompts of these domains; by default all.

        Raises:
            ProfileError: If a domain has no prompts.
        """
        known = {prompt: self.trace.domain(prompt) for prompt in self.trace.prompts}
        wanted = set(known.values() if domains is None else domains)
        if strange := sorted(wanted - set(known.values())):
            raise ProfileError(
                f"no prompt of the domain {strange[0]!r} in the profile: it holds "
                f"{', '.join(sorted(set(known.values())))}"
            )
        return tuple(prompt for prompt, domain in known.items() if domain in wanted)

    def predict(self, design: Design, prompts: Sequence[int] | None = None) -> Prediction:
        """Replay a design and price its work.

        Args:
            design: The design.
            prompts: What to replay; by default all.

        Raises:
            DesignError: If the design needs a head that was not trained.
            LatencyError: If a latency is not known.
            ProfileError: If no prompt has a second output token.
        """
        chosen = self.trace.prompts if prompts is None else tuple(prompts)
        runs = replay(self.trace, self.latency, design, chosen, model=self.model)
        rounds = [r for run in runs for r in run.rounds]
        decode_s = sum(run.seconds for run in runs)
        modelled_s = sum(run.modelled_seconds for run in runs)
        tpot_s = _tpot(runs)
        drafts, accepted = sum(len(r.exits) for r in rounds), sum(r.accepted for r in rounds)
        tested = self._tested(design, rounds)
        return Prediction(
            design=design,
            prompts=len(runs),
            tokens=sum(run.n_tokens for run in runs),
            decode_s=decode_s,
            ttft_s=sum(self.latency.prefill(run.n_prompt) for run in runs) / len(runs),
            tpot_s=tpot_s,
            tokens_per_s=1 / tpot_s,
            speedup=self._vanilla_tpot(chosen) / tpot_s,
            early_rate=drafts / tested if tested else 0.0,
            reject_rate=(drafts - accepted) / drafts if drafts else 0.0,
            tokens_per_round=sum(r.committed for r in rounds) / len(rounds),
            modelled_share=modelled_s / decode_s,
            modelled_error=self.branch_errors.expected(design, modelled_s / decode_s)
            if modelled_s
            else 0.0,
            rounds=len(rounds),
            drafts=drafts,
            accepted=accepted,
            tested=tested,
            checks=sum(len(r.checks) for r in rounds),
            gates_asked=sum(len(r.gates) for r in rounds),
            texts_differ=sum(run.left_text for run in runs),
        )

    def _tested(self, design: Design, rounds: Sequence[Round]) -> int:
        """Count the positions at which a gate or head was asked: the shallowest is first.

        The oracle checks only the heads that leave; every position that could have left counts.
        """
        if design.policy is Policy.ORACLE:
            return sum(len(r.exits) + (len(r.exits) < design.cap) for r in rounds)
        shallowest = design.boundaries(self.trace.n_layers)[1]
        gated = bool(design.gate(shallowest)) if shallowest < self.trace.n_layers else False
        return sum((r.gates if gated else r.checks).count(shallowest) for r in rounds)

    def _vanilla_tpot(self, prompts: tuple[int, ...]) -> float:
        if prompts not in self._vanilla:
            self._vanilla[prompts] = _tpot(
                replay(
                    self.trace,
                    self.latency,
                    Design(policy=Policy.VANILLA),
                    prompts,
                    model=self.model,
                )
            )
        return self._vanilla[prompts]


def predict(profile: Profile, design: Design, domains: Iterable[str] | None = None) -> Prediction:
    """Predict a design with a profile's own latencies, without an interval.

    Args:
        profile: The recording.
        design: The design.
        domains: Replay only the prompts of these domains; by default all.

    Raises:
        InputError: As `Predictor.predict` and `Predictor.prompts` do.
    """
    predictor = Predictor.of(profile)
    return predictor.predict(design, predictor.prompts(domains))


def _tpot(runs: Sequence[ReplayedRun]) -> float:
    """Return the seconds per output token after the first. Raises ProfileError without one."""
    tokens = sum(run.n_tokens - 1 for run in runs)
    if tokens == 0:
        raise ProfileError(
            f"nothing to predict: none of {len(runs)} prompts has a second output token: profile "
            "longer outputs"
        )
    return sum(run.seconds for run in runs) / tokens
