"""A recording with heads of another form: its manifest, its pages, and its exact replay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.token_ranking import TokenRanking
from adadecode.profiles.trace import Trace
from adadecode.sim.cli.report import report_of
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.measurements.head_coverage import coverage_of
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.prediction.shortlist_trace import in_form
from adadecode.sim.report.export import csv_files, markdown
from adadecode.sim.report.manifest_text import provenance
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model
from tests.support.sim_command import run, run_json


def record(folder: Path, out: str, *more: object) -> str:
    """Record prompts of a tiny model with the command; returns what it prints."""
    options = [
        "--model",
        folder / "model",
        "--heads",
        "identity:2,4",
        "--prompts",
        folder / "prompts.jsonl",
        "--out",
        folder / out,
    ]
    options += ["--max-new-tokens", "12", "--gammas", "0.05", "--repeats", "1", "--shortlist", "20"]
    done = CliRunner().invoke(app, [str(option) for option in (*options, *more)])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, its tokenizer, two prompts, and a file that holds tokens 5 to 34, rising."""
    folder = tmp_path_factory.mktemp("forms")
    tiny_model("llama", torch.float32).save_pretrained(folder / "model")
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, 97)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(folder / "model")
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"w{i} w{i + 1}", "domain": "d"}) + "\n" for i in (10, 20))
    )
    (folder / "texts.txt").write_text(" ".join(f"w{i}" for i in range(5, 35)))
    return folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    return record(
        folder,
        "p",
        "--placements",
        "2;2,4",
        "--head-dtype",
        "int8",
        "--shortlist-from",
        folder / "texts.txt",
    )


@pytest.fixture(scope="module")
def recorded(folder: Path, printed: str) -> Profile:
    assert "recorded in" in printed
    return read_profile(folder / "p")


def test_the_manifest_tells_the_form_and_what_it_loses(recorded: Profile) -> None:
    """The end of a text and 19 counted tokens."""
    heads = recorded.manifest["heads"]
    assert Provenance.of(recorded).timed_form == HeadForm(shortlist=20, dtype="int8")
    assert (heads["form"]["tokens"], heads["form"]["product"]) == (
        [2, *range(5, 24)],
        "weight-only",
    )
    final = recorded.trace[recorded.trace["depth"] == 6]["token"]
    assert heads["coverage"]["outside"] == pytest.approx((~final.isin([2, *range(5, 24)])).mean())
    at_depth_4 = recorded.trace[recorded.trace["depth"] == 4]
    assert heads["coverage"]["formed"][1] == pytest.approx(at_depth_4["agrees"].mean())
    assert heads["coverage"]["outputs"] == len(at_depth_4)


def test_heads_say_nothing_outside(recorded: Profile) -> None:
    """Along the text and on branches; each is timed."""
    held = {2, *range(5, 24)}
    assert set(recorded.trace[recorded.trace["depth"] < 6]["token"]) <= held
    assert set(recorded.branches["token"]) <= held
    assert set(recorded.latency[recorded.latency["kind"] == "head"]["layer"]) == {2, 4}


def test_its_own_replay_is_exact(recorded: Profile) -> None:
    """Every round of every design, as of any recording."""
    found = validate(recorded)
    assert found.holds
    assert found.cells["exact"].dropna().astype(bool).all()
    assert not found.cells["exact"].dropna().empty


def losses(profile: Profile) -> list[str]:
    """What every table of losses must show.

    The outputs outside, and how often head 4 is right in its full form and in this one.
    """
    found = coverage_of(profile)
    assert found is not None
    row = " │ ".join(("4", *(f"{found[name][1]:.1%}" for name in ("full", "formed", "same"))))
    return [f"{found['outputs']} outputs, {found['outside']:.1%} of them outside", f"│ {row} │"]


def test_the_command_shows_what_the_form_loses(recorded: Profile, printed: str) -> None:
    assert "heads shortlist:20 int8 on" in printed
    assert all(loss in " ".join(printed.split()) for loss in losses(recorded))


def test_validate_shows_what_the_form_loses(
    recorded: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_json(capsys, "validate", recorded.path, "--json")["heads"] == {
        "form": {"shortlist": 20, "dtype": "int8"},
        "coverage": recorded.manifest["heads"]["coverage"],
    }
    assert run("validate", recorded.path) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(loss in shown for loss in losses(recorded))


def test_the_report_shows_form_product_and_what_is_lost(recorded: Profile) -> None:
    pytest.importorskip("plotly")
    form = provenance(recorded)["form of the heads"]
    assert form.startswith("shortlist:20 int8 (product weight-only); ")
    assert losses(recorded)[0] in form
    report = report_of(Path(recorded.path))
    rows = csv_files(report)["coverage.csv"].splitlines()
    found = recorded.manifest["heads"]["coverage"]
    assert rows[0] == "depth,full,formed,same"
    assert [float(cell) for cell in rows[2].split(",")] == pytest.approx(
        [4, *(found[name][1] for name in ("full", "formed", "same"))]
    )
    assert "What heads shortlist:20 int8 lose" in markdown(report)


def test_what_is_recorded_is_not_counted(recorded: Profile, folder: Path) -> None:
    """Of two texts of a recording, one is recorded again; the tokens are those of the other."""
    shown = record(
        folder, "again", "--placements", "2", "--limit", "1", "--shortlist-from", recorded.path
    )
    assert f"1 of the texts in {recorded.path} are recorded here, and were left out" in shown
    other = Trace.from_profile(recorded).tokens(1)[:, -1].tolist()
    ranking = read_profile(folder / "again").manifest["heads"]["ranking"]
    assert ranking["source"] == "p"
    assert sorted(ranking["counted"]) == sorted({2, *other})


def test_a_named_field_holds_the_texts_that_are_counted_too(folder: Path) -> None:
    """Prompts and texts may be of one data set, which calls them as it likes."""
    for name, words in (("asked", "w10 w11"), ("counted", "w30 w31 w32")):
        (folder / f"{name}.jsonl").write_text(json.dumps({"question": words}) + "\n")
    record(
        folder,
        *("named", "--placements", "2", "--prompts", folder / "asked.jsonl"),
        *("--prompt-field", "question", "--shortlist-from", folder / "counted.jsonl"),
    )
    ranking = read_profile(folder / "named").manifest["heads"]["ranking"]
    assert sorted(ranking["counted"]) == [2, 30, 31, 32]


def test_a_recording_of_full_heads_carries_the_tokens_of_shortlists(
    recorded: Profile, folder: Path
) -> None:
    """Those that heads with a shortlist have that were counted in the same file."""
    record(
        folder,
        *("full", "--placements", "2", "--shortlist", "0"),
        *("--shortlist-from", folder / "texts.txt"),
    )
    full = read_profile(folder / "full")
    assert Provenance.of(full).timed_form == HeadForm()
    ranking = TokenRanking.from_manifest(full.manifest["heads"])
    assert ranking is not None
    assert sorted(ranking.shortlist(20)) == recorded.manifest["heads"]["form"]["tokens"]
    assert (ranking.source, ranking.vocabulary) == ("texts.txt", 97)
    _, notes = in_form(full, Provenance.of(full), Trace.from_profile(full), HeadForm(shortlist=20))
    assert "tokens as counted in texts.txt, then by id" in notes[0]
    final = full.trace[full.trace["depth"] == 6]["token"]
    outside = 1 - final.isin(ranking.shortlist(20)).mean()
    assert f"{outside:.1%} of the outputs are outside" in notes[0]


def test_checks_of_other_forms_are_timed_beside_those_that_decode(folder: Path) -> None:
    """Each at every depth, as often as the heads that decode, and priced as measured."""
    forms = "full,int8,shortlist:20,shortlist:30+int8,shortlist:20"
    record(folder, "forms", "--placements", "2", "--shortlist", "0", "--head-forms", forms)
    profile = read_profile(folder / "forms")
    timed = profile.head_forms.groupby(["form", "depth"]).size()
    own = profile.latency[profile.latency["kind"] == "head"].groupby("layer").size()
    assert {form for form, _ in timed.index} == {"int8", "shortlist:20", "shortlist:30 int8"}
    assert set(timed) == set(own)
    assert {depth for _, depth in timed.index} == set(own.index) == {2, 4}
    for form in (HeadForm(dtype="int8"), HeadForm(shortlist=20)):
        scenario = find_scenario(profile, ScenarioOptions(form=form))
        assert scenario.latencies.basis == "measured"
        rows = profile.head_forms[profile.head_forms["form"] == form.label]
        seconds = rows[rows["depth"] == 4]["seconds"]
        assert seconds.min() <= scenario.latencies.middle.head(4, 4) <= seconds.max()
    assert validate(profile).holds


def test_a_prediction_knows_which_tokens_a_prompt_holds(folder: Path) -> None:
    """From full heads, as heads are told that have the form: the same text, and the same outside.

    A head whose token is held says that token in both.
    """
    options = ("--placements", "2", "--shortlist-from", folder / "texts.txt", "--limit", "2")
    record(folder, "whole", *options, "--shortlist", "0")
    record(folder, "told", *options, "--shortlist", "8", "--shortlist-prompt")
    whole, told = (read_profile(folder / name) for name in ("whole", "told"))
    form = HeadForm(shortlist=8, prompt=True)
    assert Provenance.of(told).timed_form == form
    trace, notes = in_form(whole, Provenance.of(whole), Trace.from_profile(whole), form)
    real, full = Trace.from_profile(told), Trace.from_profile(whole)
    outside = told.manifest["heads"]["coverage"]["outside"]
    assert f"{outside:.1%} of the outputs are outside" in notes[0]
    assert "and the tokens of each prompt" in notes[0]
    for prompt in trace.prompts:
        held = {
            *told.manifest["heads"]["form"]["tokens"],
            *range(10 + 10 * prompt, 12 + 10 * prompt),
        }
        assert (trace.tokens(prompt)[:, -1] == real.tokens(prompt)[:, -1]).all()
        inside = np.isin(full.tokens(prompt)[1:, :-1], list(held))
        assert (trace.tokens(prompt)[1:, :-1] == real.tokens(prompt)[1:, :-1])[inside].all()
        assert (
            trace.confidences(prompt)[1:, :-1] <= real.confidences(prompt)[1:, :-1] + 1e-6
        ).all()
    assert validate(told).holds
