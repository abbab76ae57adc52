"""Scripted decisions: the simulator's rounds, the trace's tokens, and all of the work."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.random_heads import random_heads
from adadecode.engine.loading.random_model import random_model
from adadecode.profiles.errors import DesignError, HeadsError, InputError, ProfileError
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Round
from adadecode.sim.replay.simulation import Replay, ReplayedRun
from adadecode.sim.synthetic.head_model import HeadModel
from adadecode.sim.synthetic.synthetic_profile import write_synthetic
from adadecode.sim.synthetic.trace_generator import alike
from tests.support.paths import DEMO_PROFILE
from tests.support.property_tests import examples
from tests.support.recordings import imported
from tests.support.small_shape import N_LAYERS, VOCABULARY, tiny_shape

PLACES = {2: 1, 5: 2, 9: 4, 12: 5}
"""Of the recording's 16 layers in this model's 6."""


@pytest.fixture(scope="module")
def recording() -> Profile:
    return read_profile(DEMO_PROFILE)


@pytest.fixture(scope="module")
def script(recording: Profile) -> Script:
    return Script.of(recording, N_LAYERS, PLACES, limit=2, max_new_tokens=40)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> AdaDecoder:
    model = random_model(
        tiny_shape(tmp_path_factory.mktemp("shapes")), "float32", torch.device("cpu")
    )
    return AdaDecoder(model, random_heads(model, tuple(PLACES.values())))


def scripted(
    decoder: AdaDecoder, script: Script, design: Design, prompt: int
) -> tuple[list[int], list[Round]]:
    """Tokens and rounds of one scripted run."""
    ids = torch.tensor([script.encoded(decoder.parts.n_embeddings, seed=0)[prompt]])
    decoding = script.start(decoder, ids, design, prompt)
    with decoder.parts.session():
        for _ in decoding.steps():
            pass
    return decoding.schedule.tokens, decoding.schedule.rounds


def simulated(script: Script, design: Design, prompt: int) -> ReplayedRun:
    return Replay(script.trace, design, lambda work: 1.0).run(prompt)


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Any design on any of the heads, the oracle and unverified ones too."""
    policy = draw(st.sampled_from(list(Policy)))
    cap, verify = draw(st.integers(1, 7)), draw(st.booleans())
    heads = sorted(draw(st.sets(st.sampled_from(list(PLACES.values())), min_size=1)))
    if policy is Policy.VANILLA:
        return Design.of(policy)
    if policy is Policy.ADADECODE:
        gamma = [draw(st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0])) for _ in heads]
        return Design.of(policy, gamma=gamma, placement=heads, cap=cap, verify=verify)
    return Design.of(
        policy, placement=heads[:1] if policy is Policy.FIXED else heads, cap=cap, verify=verify
    )


@examples(60)
@given(design=designs(), prompt=st.integers(0, 7))
def test_rounds_are_the_simulators(
    decoder: AdaDecoder, script: Script, design: Design, prompt: int
) -> None:
    """Exits, batches, checks and accepts of every round, wrong branches included."""
    tokens, rounds = scripted(decoder, script, design, prompt)
    run = simulated(script, design, prompt)
    assert tuple(rounds) == run.rounds
    assert len(tokens) == run.n_tokens


def test_wrong_branches_are_met_both_recorded_and_drawn(
    decoder: AdaDecoder, script: Script
) -> None:
    """Else the property shows little: some rejections lie on branches nobody recorded."""
    fixed, sure = (
        [simulated(script, design, prompt) for prompt in range(8)]
        for design in (
            Design.of("fixed", placement=(1,), cap=6),
            Design.of(gamma=0.5, placement=(1,)),
        )
    )
    assert any(run.modelled_seconds > 0 for run in fixed)
    assert any(
        run.modelled_seconds == 0 and any(len(done.exits) > done.accepted for done in run.rounds)
        for run in sure
    )


@pytest.mark.parametrize("policy", ["vanilla", "adadecode", "fixed", "oracle"])
@pytest.mark.parametrize("prompt", range(8))
def test_the_text_is_the_recordings(
    decoder: AdaDecoder, script: Script, recording: Profile, policy: str, prompt: int
) -> None:
    """Every verified design commits the recorded tokens, whatever the model would have said."""
    design = (
        Design.of(policy, gamma=0.3, placement=() if policy == "vanilla" else (2,))
        if policy != "oracle"
        else Design.of(policy, placement=(2, 4))
    )
    source = Trace.from_profile(recording)
    number = script.numbers[prompt]
    assert scripted(decoder, script, design, prompt)[0] == [
        source.final(number, i) for i in range(script.trace.n_output(prompt))
    ]


def test_all_the_work_is_done(
    decoder: AdaDecoder, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layer of every batch, every head check and every verification, counted in the model."""
    done: Counter[tuple[str, int, int]] = Counter()
    for index, layer in enumerate(decoder.parts.layers):
        hook = layer.register_forward_hook(
            lambda _m, args, _o, index=index: done.update([("layer", index, args[0].shape[1])])
        )
        monkeypatch.setattr(layer, "unhook", hook, raising=False)
    apply, logits = ExitHeads.apply, decoder.parts.logits
    monkeypatch.setattr(
        ExitHeads,
        "apply",
        lambda self, depth, hidden: (done.update([("head", depth, 1)]), apply(self, depth, hidden))[
            1
        ],
    )
    monkeypatch.setattr(
        decoder.parts,
        "logits",
        lambda hidden, *more: (
            done.update([("verify", 0, hidden.shape[1])]),
            logits(hidden, *more),
        )[1],
    )
    design = Design.of(gamma=0.3, placement=(1, 4), cap=4)
    _, rounds = scripted(decoder, script, design, 4)
    for layer in decoder.parts.layers:
        layer.unhook.remove()
    bounds, n_prompt = (0, 1, 4, N_LAYERS), script.trace.n_prompt(4)
    expected: Counter[tuple[str, int, int]] = Counter(
        [("layer", index, n_prompt) for index in range(N_LAYERS)]
    )  # the prefill
    expected.update([("verify", 0, 1)])
    for one in rounds:
        expected.update(
            ("layer", index, n)
            for segment, n in one.work
            for index in range(bounds[segment], bounds[segment + 1])
        )
        expected.update(("head", depth, 1) for depth in one.checks)
        expected.update([("verify", 0, len(one.exits) + 1)])
    assert done == expected


def test_tokens_beyond_the_vocabulary_are_embedded_as_others(
    decoder: AdaDecoder, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modulo the vocabulary; the committed text keeps the recorded ones."""
    fed: list[int] = []
    embed = decoder.parts.embed
    monkeypatch.setattr(
        decoder.parts,
        "embed",
        lambda tokens, start: (fed.extend(tokens[0].tolist()), embed(tokens, start))[1],
    )
    tokens, _ = scripted(decoder, script, Design.of("vanilla"), 0)
    assert max(tokens) >= VOCABULARY
    assert fed[script.trace.n_prompt(0) :] == [token % VOCABULARY for token in tokens[:-1]]


def test_the_script_says_what_a_mapped_trace_says(recording: Profile, script: Script) -> None:
    """Heads at their places, prompts renumbered; branches too."""
    mapped = Trace.from_profile(recording).mapped(PLACES, N_LAYERS)
    assert script.trace.depths == mapped.depths
    branches = mapped.branches()
    for prompt, number in enumerate(script.numbers):
        for output in range(1, script.trace.n_output(prompt)):
            for depth in (*mapped.depths, N_LAYERS):
                assert script.trace.head(prompt, output, depth) == mapped.head(
                    number, output, depth
                )
    for (prompt, output, path), row in script.trace.branches().items():
        assert branches[script.numbers[prompt], output, path] == row


def test_whole_texts_hold_every_branch(recording: Profile) -> None:
    script = Script.of(recording, N_LAYERS, PLACES)
    assert len(script.trace.branches()) == len(Trace.from_profile(recording).branches())


def test_texts_are_cut(recording: Profile) -> None:
    """A text that went on beyond the cut has not ended; a shorter one stays as it was."""
    source = Trace.from_profile(recording)
    length = source.n_output(0)
    assert source.ended(0)
    script = Script.of(recording, N_LAYERS, PLACES, max_new_tokens=length - 1)
    assert (script.trace.n_output(0), script.trace.ended(0), script.trace.max_new_tokens(0)) == (
        length - 1,
        False,
        length - 1,
    )
    script = Script.of(recording, N_LAYERS, PLACES, max_new_tokens=length)
    assert (script.trace.n_output(0), script.trace.ended(0), script.trace.max_new_tokens(0)) == (
        length,
        True,
        length,
    )


def test_prompts_are_chosen_by_domain_and_keep_their_lengths(recording: Profile) -> None:
    script = Script.of(recording, N_LAYERS, PLACES, domains=["code", "prose"], limit=1)
    assert script.numbers == (4, 8)
    assert [len(ids) for ids in script.encoded(50, seed=0)] == recording.prompts["n_prompt"].iloc[
        [4, 8]
    ].tolist()
    assert max(max(ids) for ids in script.encoded(50, seed=0)) < 50


def test_heads_stand_where_they_were_where_nothing_else_is_said(recording: Profile) -> None:
    assert Script.of(recording, 16).depths == tuple(range(1, 16))


@pytest.mark.parametrize(
    ("layers", "options", "error", "message"),
    [
        (6, {}, DesignError, "say where its heads stand, for instance in proportion with --map"),
        (6, {"places": {5: 3, 2: 4}}, DesignError, "a deeper head stays the deeper one"),
        (6, {"places": {2: 6}}, DesignError, r"rising depths in 1\.\.5"),
        (6, {"places": {17: 3}}, DesignError, "no head at depth 17"),
        (6, {"places": PLACES, "domains": ["poetry"]}, InputError, "no prompts of domain poetry"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    recording: Profile, layers: int, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Script.of(recording, layers, options.pop("places", None), **options)


def test_latencies_alone_hold_no_decisions(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no decisions to follow"):
        Script.of(imported(tmp_path), 6, {2: 1})


def test_a_prompt_of_another_length_is_refused(decoder: AdaDecoder, script: Script) -> None:
    with pytest.raises(InputError, match="was recorded with 63 tokens, got 3"):
        script.start(decoder, torch.tensor([[1, 2, 3]]), Design.of("vanilla"), 0)


def test_a_model_with_other_layers_is_refused(decoder: AdaDecoder, recording: Profile) -> None:
    script = Script.of(recording, 16, limit=1)
    ids = torch.tensor([script.encoded(50, seed=0)[0]])
    with pytest.raises(DesignError, match="the script is for 16 layers, the model has 6"):
        script.start(decoder, ids, Design.of("vanilla"), 0)


def test_a_head_that_the_model_lacks_is_refused(decoder: AdaDecoder, script: Script) -> None:
    """The script may know it: its cost would not be there."""
    bare = AdaDecoder(decoder.parts.model)
    with pytest.raises(HeadsError, match="no head at depth 2"):
        script.start(
            bare,
            torch.tensor([script.encoded(50, seed=0)[0]]),
            Design.of(gamma=0.5, placement=(2,)),
            0,
        )


def test_static_shapes_take_the_same_rounds(decoder: AdaDecoder, script: Script) -> None:
    """The code path of graphs: other kernels, the same decisions."""
    static = AdaDecoder(decoder.parts.model, decoder.heads, graphs="static")
    design = Design.of(gamma=0.2, placement=(1, 4), cap=6)
    for prompt in (0, 4):
        assert scripted(static, script, design, prompt) == scripted(decoder, script, design, prompt)


def test_a_sampled_recording_is_not_followed(recording: Profile) -> None:
    sampled = replace(recording, manifest={**recording.manifest, "sampling": {"temperature": 1.0}})
    with pytest.raises(ProfileError, match="scripts are followed greedily"):
        Script.of(sampled, N_LAYERS, PLACES)


def test_decisions_of_heads_of_another_form_are_said_to_be(recording: Profile) -> None:
    """Decisions of full heads have no such note."""
    heads = {**recording.manifest["heads"], "form": {"shortlist": 64, "dtype": None}}
    followed = replace(recording, manifest={**recording.manifest, "heads": heads})
    assert Script.of(followed, N_LAYERS, PLACES).about()["form"] == {"shortlist": 64, "dtype": None}
    assert "form" not in Script.of(recording, N_LAYERS, PLACES).about()


def test_drawn_decisions_are_said_to_be_drawn(script: Script, tmp_path: Path) -> None:
    """Tokens of a synthetic trace have no frequencies, so a shortlist cannot be filled."""
    model = HeadModel.of(16, (4, 8), (0.6, 0.8))
    drawn, _ = write_synthetic(
        tmp_path / "p", {"synthetic": model}, alike(1, n_prompt=4, n_output=6)
    )
    assert Script.of(drawn, 16).about()["synthetic"]
    assert "synthetic" not in script.about()
