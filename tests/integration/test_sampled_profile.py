"""Sampled profiles: recorded with what every run drew, replayed with it, predicted without."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampler, Sampling
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.profiling.latency_visit import LatencyVisit
from adadecode.engine.profiling.plan import HOST_ROUNDS, RecordingPlan
from adadecode.engine.profiling.recorder import record_plan
from adadecode.profiles import TABLES, ProfileError, read_profile, write_profile
from adadecode.profiles.hashing import dice
from adadecode.profiles.manifest import tables_of
from adadecode.profiles.schema import REQUIRED_COLUMNS
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import OTHER, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Draft, Round, Run, Verdict, Verify, Work
from adadecode.sim.measurements.runs import Cell, draws_of, rounds_of
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.outcomes import RecordedOutcomes
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.simulation import Replay
from adadecode.sim.validation.acceptance_rate import Acceptance, acceptances, judged
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model
from tests.support.sim_command import run
from tests.support.synthetic_profile import required, synthetic_profile
from tests.support.tampering import edit_manifest

SAMPLING = Sampling(temperature=1.2, top_k=40, top_p=0.98, seed=11)
DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.05, placement=(3,)),
    Design.of(gamma=(0.03, 0.1), placement=(2, 4)),
    Design.of(gamma=0.05, placement=(4,), verify=False),
    Design.of("fixed", placement=(4,), cap=2),
)
PROMPTS = ((5, 6, 7), (8, 9, 10, 11, 3), (20, 21), (33, 4, 60, 7))


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    """Of its 97 tokens 8 end a text, so that heads draft ends too."""
    model = tiny_model("llama", torch.float32)
    made = AdaDecoder(model, ExitHeads.identity(model, [1, 2, 3, 4, 5]))
    made.eos = frozenset(range(2, 97, 12))
    return made


PLAN = RecordingPlan(
    prompts=tuple(Prompt(text=str(ids), domain="x") for ids in PROMPTS),
    encoded=PROMPTS,
    designs=DESIGNS,
    contexts=(3, 37),
    walks=(4, 6),
    max_tokens=6,
    max_new_tokens=32,
    repeats=1,
    samples=1,
    floor=0.5,
    seed=0,
    settings={"model": "tiny", "heads": "identity"},
    sampling=SAMPLING,
)


@pytest.fixture(scope="module")
def recorded(decoder: AdaDecoder, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return record_plan(decoder, PLAN, tmp_path_factory.mktemp("sampled") / "p", resume=False)


def rewritten(profile: Profile, path: Path, **tables: pd.DataFrame) -> Profile:
    kept = {name: getattr(profile, name) for name in tables_of(profile.manifest)}
    return write_profile(path, profile.manifest, {**kept, **tables})


def free(_: Work) -> float:
    """A price where only the structure counts."""
    return 0.0


# ---- what is recorded ----


def test_the_manifest_says_how_texts_were_sampled(recorded: Profile) -> None:
    assert recorded.sampled
    assert recorded.manifest["schema_version"] == 2
    assert recorded.manifest["sampling"] == {
        "temperature": 1.2,
        "top_k": 40,
        "top_p": 0.98,
        "seed": 11,
    }


def test_greedy_profiles_are_as_before(tmp_path: Path) -> None:
    """Version 1, no draws on disk, an empty table of them in hand."""
    profile = synthetic_profile(tmp_path / "p")
    assert profile.manifest["schema_version"] == 1
    assert sorted(path.stem for path in profile.path.glob("*.parquet")) == sorted(TABLES)
    assert not profile.sampled
    assert profile.draws.empty


def test_the_trace_is_vanillas_text_by_the_same_seed(
    decoder: AdaDecoder, recorded: Profile
) -> None:
    trace = Trace.from_profile(recorded)
    for prompt, ids in enumerate(PROMPTS):
        text = decoder.generate(
            torch.tensor([ids]),
            32,
            policy="vanilla",
            temperature=1.2,
            top_k=40,
            top_p=0.98,
            seed=dice(SAMPLING.seed, prompt),
        )
        assert trace.tokens(prompt)[:, -1].tolist() == text.tokens


def test_confidence_and_acceptance_are_of_the_transformed_distributions(
    decoder: AdaDecoder, recorded: Profile
) -> None:
    """They are compared with whole forward passes of the model."""
    trace, parts = Trace.from_profile(recorded), decoder.parts
    text = trace.tokens(1)[:, -1].tolist()
    with torch.inference_mode():
        out = parts.model(
            torch.tensor([[*PROMPTS[1], *text[:-1]]]), output_hidden_states=True, use_cache=False
        )
        for depth in (2, 4):
            q = SAMPLING.probabilities(
                decoder.heads.logits(parts, depth, parts.normed(out.hidden_states[depth]))[0]
            )
            p = SAMPLING.probabilities(out.logits[0].float())
            rows = recorded.trace.query(f"prompt == 1 and depth == {depth}").sort_values("output")
            np.testing.assert_allclose(rows["confidence"], q.amax(-1)[len(PROMPTS[1]) :], rtol=1e-3)
            np.testing.assert_allclose(
                rows["acceptance"], torch.minimum(p, q).sum(-1)[len(PROMPTS[1]) :], rtol=1e-3
            )


def test_a_sampled_profile_without_its_draws_is_refused(recorded: Profile, tmp_path: Path) -> None:
    copy = rewritten(recorded, tmp_path / "p")
    edit_manifest(copy.path, lambda manifest: manifest["tables"].pop("draws"))
    with pytest.raises(ProfileError, match="lacks the table draws"):
        read_profile(copy.path)


# ---- what is timed ----


def test_latencies_are_of_drawn_drafts_and_of_drafts_judged(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is chosen greedily.

    Neither in walks to 5 heads, nor in those of 1 to 6 tokens to the last layer, 2 laps each, nor
    in the host time of vanilla and of 5 drafts.
    """
    chosen: Counter[str] = Counter()

    def counting(name: str, own: Any) -> Any:
        def counted(self: Sampler, logits: torch.Tensor, *rest: Any) -> Any:
            work = rest[0] if rest else None
            chosen[f"{name} {len(work.drafts)}" if isinstance(work, Verify) else name] += 1
            return own(self, logits, *rest)

        return counted

    for name in ("first", "draft", "verdict"):
        monkeypatch.setattr(Sampler, name, counting(name, getattr(Sampler, name)))
    for name in ("greedy_draft", "greedy_tokens"):
        monkeypatch.setattr(
            f"adadecode.engine.decoding.sequence.{name}", lambda *_: pytest.fail("chosen greedily")
        )
    with torch.inference_mode():
        decoder.parts.allocate(PLAN.longest)
    rows = LatencyVisit(decoder, PLAN, 0).finish()
    kinds = Counter(row["kind"] for row in rows)
    assert (kinds["head"], kinds["verify"], kinds["host"]) == (5, 6, 6)
    assert chosen["first"] == kinds["prefill"]
    host = 2 * HOST_ROUNDS  # the cold ones included
    assert [chosen[f"verdict {drafts}"] for drafts in range(6)] == [
        2 + host,
        2,
        2,
        2,
        2,
        2 + 5 * host,
    ]
    assert (
        chosen["draft"] == 2 * (5 + 5) + 5 * 5 * host
    )  # heads alone, and after 2 to 6 tokens at depth 4; 5 drafts at each of 5 depths


# ---- replayed with what was drawn ----


def test_replays_of_recorded_draws_are_the_measured_rounds(recorded: Profile) -> None:
    """T0: every round of every run; rejections, ends and unverified runs among them."""
    trace, draws, rounds = Trace.from_profile(recorded), draws_of(recorded), rounds_of(recorded)
    assert {design for design, _ in rounds} == set(DESIGNS)
    for (design, prompt), measured in rounds.items():
        run = Replay(trace, design, free).run(prompt, drawn=draws[design, prompt])
        assert run.rounds == measured
    held, total = judged([done for cell in rounds.values() for done in cell])
    assert 0 < held < total


def test_all_tiers_hold_on_the_runs_own_texts(recorded: Profile) -> None:
    """T0 exact, T1 within a percent, also of runs of other lengths than the trace's."""
    comparison = validate(recorded)
    document = comparison.to_dict()
    assert document["structure"]["exact"] == document["structure"]["runs"] > 0
    assert document["left_out"] == 0
    assert document["replay_error"]["median"] < 0.01
    assert (
        len(
            set(comparison.cells.query("prompt == 0")["n_tokens"])
            | set(comparison.cells.query("prompt == 1")["n_tokens"])
        )
        > 1
    )


def test_other_draws_are_other_rounds(recorded: Profile, tmp_path: Path) -> None:
    """A check is less sure than its gamma: the scheduler asks for another draw, or ends."""
    draws = recorded.draws.copy()
    taken = draws[
        (draws["policy"] == "adadecode")
        & (draws["kind"] == "check")
        & (draws["confidence"] > 0.1)
        & draws["verify"]
    ]
    draws.loc[taken.index[0], "confidence"] = 0.0
    with pytest.raises(ProfileError, match=r"of a sampled run, got|the length of the trace's text"):
        validate(rewritten(recorded, tmp_path / "p", draws=draws))


def test_draws_with_a_gap_are_refused(recorded: Profile, tmp_path: Path) -> None:
    """Where they are written, and where they are used."""
    draws = recorded.draws[recorded.draws["index"] != 1]
    with pytest.raises(ProfileError, match="are not numbered from 0 on: number 2 stands where 1"):
        rewritten(recorded, tmp_path / "p", draws=draws)
    gap = replace(recorded, draws=draws)
    with pytest.raises(ProfileError, match=r"wanted draws 0\.\.\d+ of .* on prompt \d, got others"):
        draws_of(gap)


def test_draws_left_over_are_refused() -> None:
    drawn = RecordedOutcomes([Verdict(0, 1)])
    with pytest.raises(ProfileError, match="wanted 0 draws of a sampled run, got 1"):
        drawn.close()


# ---- predicted without ----


def test_a_draft_holds_with_its_probability_of_acceptance(tmp_path: Path) -> None:
    """A draft is the committed token as often as the heads' acceptances say, else it is OTHER."""
    profile = synthetic_profile(
        tmp_path / "p", prompts=4, outputs=600, sampling={"temperature": 1.0}
    )
    trace = Trace.from_profile(profile)
    for column, depth in enumerate(trace.depths):
        wanted = profile.trace.query(f"depth == {depth}")["acceptance"]
        tokens = np.concatenate([trace.tokens(prompt)[1:] for prompt in trace.prompts])
        holds = tokens[:, column] == tokens[:, -1]
        assert (tokens[~holds, column] == OTHER).all()
        assert abs(holds.mean() - wanted.mean()) < 4 * math.sqrt(
            (wanted * (1 - wanted)).sum()
        ) / len(wanted)


def test_rates_are_told_of_every_verified_design_with_heads(recorded: Profile) -> None:
    assert {one.design for one in validate(recorded).acceptances} == {
        d.label for d in DESIGNS if d.placement and d.verify
    }


RATED = (
    Design.of(gamma=0.05, placement=(2,)),
    Design.of(gamma=(0.2, 0.1), placement=(1, 2)),
    Design.of("fixed", placement=(2,), cap=2),
)


@dataclass(frozen=True)
class Texts:
    """16 texts of 64 tokens that end nowhere: vanilla's with its trace, and runs by other seeds."""

    prompts: pd.DataFrame
    trace: pd.DataFrame
    rounds: dict[Cell, list[Round]]

    def rates(self, latency: Latencies, trace: pd.DataFrame) -> tuple[Acceptance, ...]:
        """Measured, and predicted from this trace. latency: whatever it is, nothing is timed."""
        branches = pd.DataFrame([], columns=required("branches"))
        head_outputs = Trace.from_frames(
            self.prompts, trace, branches, n_layers=3, depths=(1, 2), eos=(), sampled=True
        )
        return acceptances(Predictor(trace=head_outputs, latency=latency), self.rounds)


@pytest.fixture(scope="module")
def texts() -> Texts:
    model = tiny_model("llama", torch.float32, num_hidden_layers=3)
    made = AdaDecoder(model, ExitHeads.identity(model, (1, 2)))
    made.eos = frozenset()
    prompts, rows, rounds = [], [], {}
    with torch.inference_mode():
        made.parts.allocate(2 + 64)
    for prompt in range(16):
        ids = (prompt + 3, 7 * prompt % 90 + 3)
        with made.parts.session():
            text, outputs = Counterfactual(made, replace(SAMPLING, seed=2 * prompt)).trace(ids, 64)
        prompts.append((prompt, "x", 2, 64, text.ended, text.outputs[0], "", 64))
        rows += [{"prompt": prompt, **row} for row in outputs]
        for design in RATED:
            decoding = made.start(
                torch.tensor([ids]),
                design,
                max_new_tokens=64,
                sampling=replace(SAMPLING, seed=2 * prompt + 1),
            )
            with made.parts.session():
                for _ in decoding.steps():
                    pass
            rounds[design, prompt] = decoding.schedule.rounds
    return Texts(
        pd.DataFrame(prompts, columns=list(REQUIRED_COLUMNS["prompts"])),
        pd.DataFrame(rows, columns=required("trace")),
        rounds,
    )


def apart(one: Acceptance) -> float:
    """Predicted from measured, in standard errors of the difference: a tenth is four of them."""
    assert 4 * math.sqrt(2) * one.error < 0.11
    return abs(one.measured - one.predicted) / (math.sqrt(2) * one.error)


@pytest.mark.slow
def test_rates_without_draws_are_near_the_measured_ones(recorded: Profile, texts: Texts) -> None:
    """Within four standard errors of the two; one sampled text a prompt stands for all."""
    found = texts.rates(Predictor.of(recorded).latency, texts.trace)
    assert len(found) == len(RATED)
    assert max(map(apart, found)) < 4


@pytest.mark.slow
def test_rates_from_whether_heads_agree_are_caught(recorded: Profile, texts: Texts) -> None:
    """How often a head's most likely token is drawn is not how often its drafts hold."""
    agreeing = texts.trace.assign(acceptance=texts.trace["agrees"].astype(float))
    assert min(map(apart, texts.rates(Predictor.of(recorded).latency, agreeing))) > 4


def test_drafts_are_judged_up_to_the_first_that_does_not_hold() -> None:
    """Three drafts, one of which holds: two were judged."""
    done = Round(
        start=4, exits=(1, 1, 1), accepted=1, committed=2, work=((0, 1),), checks=(1, 1, 1)
    )
    assert judged([done]) == (1, 2)


def test_drawn_answers_are_of_the_kind_asked_for() -> None:
    """A check does not take the outcome of a verification."""
    drawn = RecordedOutcomes([Draft(0.5, 3)])
    works: list[Work] = [Run(0, 4, 5), Check(1, 4)]
    assert [drawn(work) for work in works] == [None, Draft(0.5, 3)]


# ---- what people are shown ----


def test_validate_shows_every_heading_and_number_at_80_columns(
    recorded: Profile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("validate", recorded.path) == 0
    out = capsys.readouterr().out
    assert "\u2026" not in out
    (headings,) = (line for line in out.splitlines() if "held*" in line)
    assert [cell.strip() for cell in headings.split("\u2503")[1:-1]] == [
        "design",
        "drafts",
        "held",
        "+-",
        "held*",
        "tokens",
        "tokens*",
    ]


def test_a_sweep_and_an_account_say_that_the_text_was_sampled(
    recorded: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--gammas", "0.05", "--max-heads", "1", "--threads", "1"]
    for command in (
        ["sweep", recorded.path, "--out", tmp_path / "s", *few],
        ["account", recorded.path],
    ):
        assert run(*command) == 0
        assert (
            "- sampled at temperature 1.2, top-k 40, top-p 0.98, seed 11: one drawn text"
            in " ".join(capsys.readouterr().out.split())
        )
