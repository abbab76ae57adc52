"""The form of the heads as an axis of a sweep.

The same figures as with one form at a time, and one best of all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adadecode.profiles import Profile
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DesignError, HeadsError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.head_form import FULL, HeadForm, form_named
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.report.sweep.sweep_report import sweep_report
from adadecode.sim.sweep import runner
from adadecode.sim.sweep.best_design import design_of
from adadecode.sim.sweep.devices import evaluator_of
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.head_forms import (
    NO_HEADS,
    FormedDesign,
    FormedEvaluator,
    in_forms,
    label_in,
)
from adadecode.sim.sweep.pareto import pareto_front
from adadecode.sim.sweep.plan import SweepPlan
from adadecode.sim.sweep.runner import run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import Sweep, read_sweep
from tests.support.recordings import about, on_a100
from tests.support.sim_command import run
from tests.support.sweeps import ABOUT, sources_of
from tests.support.synthetic_profile import synthetic_profile

INT8, SHORT, BOTH = (
    HeadForm(dtype="int8"),
    HeadForm(shortlist=8),
    HeadForm(shortlist=8, dtype="int8"),
)
FORMS = (FULL, INT8, SHORT, BOTH)
OPTIONS = (
    "--gammas",
    "0.2,0.5,0.8",
    "--max-heads",
    "2",
    "--devices",
    "recorded,h100-sxm",
    "--objective",
    "tpot,memory",
    "--threads",
    "1",
)
ONE_BY_ONE = {
    "full": (),
    "int8": ("--head-dtype", "int8"),
    "shortlist:8 int8": ("--shortlist", "8", "--head-dtype", "int8"),
}
ALL = "full,int8,shortlist:8+int8"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("forms") / "p", prompts=6)


@pytest.fixture(scope="module")
def swept(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Three forms on two devices, vanilla and the oracle as well."""
    out = tmp_path_factory.mktemp("swept") / "s"
    assert (
        run(
            "sweep",
            profile.path,
            "--out",
            out,
            "--policies",
            ",".join(Policy),
            *OPTIONS,
            "--head-forms",
            ALL,
        )
        == 0
    )
    return read_sweep(out)


@pytest.fixture(scope="module")
def evaluator(profile: Profile) -> FormedEvaluator:
    scenarios = {form: find_scenario(profile, ScenarioOptions(form=form)) for form in FORMS}
    return FormedEvaluator(
        evaluators={form: evaluator_of([one], None, 5, None) for form, one in scenarios.items()}
    )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PART", 8)


def plan(evaluator: FormedEvaluator, **settings: Any) -> SweepPlan:
    space = Space.among((2, 4, 6), 8, gammas=(0.2, 0.5, 0.8), max_heads=2, caps=(5,), forms=FORMS)
    return SweepPlan(
        space=space, **{"objectives": ("tpot",), "sources": sources_of(evaluator), **settings}
    )


def search(evaluator: FormedEvaluator, out: Path, chosen: SweepPlan, progress: Any = None) -> Sweep:
    with workers(evaluator, threads=2) as submit:
        return run_sweep(chosen, evaluator, submit, out, ABOUT, progress)


# -- a form by name ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_known_by_its_label(form: HeadForm) -> None:
    assert form_named(form.label) == form_named(form.label.replace(" ", "+")) == form


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ful",
        "int3",
        "shortlist",
        "shortlist:",
        "shortlist:x",
        "shortlist:0",
        "int8+int8",
        "shortlist:8+",
    ],
)
def test_what_is_no_form_is_refused(name: str) -> None:
    with pytest.raises(
        HeadsError, match=r"wanted a form of heads like full|holds at least 1 token"
    ):
        form_named(name)


def test_designs_of_two_forms_are_two_designs() -> None:
    """Vanilla has no heads and is one design."""
    full, int8 = in_forms(Design.of(gamma=0.5, placement=(2, 4)), (FULL, INT8))
    assert (full.label, int8.label) == (
        "adadecode 2/4 gamma 0.5 heads full",
        "adadecode 2/4 gamma 0.5 heads int8",
    )
    assert full != int8
    assert list(in_forms(Design.of("vanilla"), (FULL, INT8))) == [Design.of("vanilla")]


# -- evaluated -----------------------------------------------------------------------------------


def test_a_row_is_what_its_forms_evaluator_says(evaluator: FormedEvaluator) -> None:
    """In whatever order the designs come; a form stands beside each."""
    bare = [
        Design.of(gamma=0.5, placement=(2, 4)),
        Design.of("fixed", placement=(4,), cap=2),
        Design.of("vanilla"),
    ]
    designs = [formed for design in bare for formed in in_forms(design, FORMS)][::-1]
    rows = evaluator.evaluate(designs)
    assert rows["design"].tolist() == [design.label for design in designs]
    for design, form, row in zip(
        designs, rows["form"], rows.drop(columns="form").to_dict("records"), strict=True
    ):
        assert form == (design.form.label if isinstance(design, FormedDesign) else NO_HEADS)
        one = evaluator.evaluators[FULL if form == NO_HEADS else form_named(form)]
        wanted = one.evaluate(
            [
                Design(
                    **{name: row[name] for name in ("placement", "gammas", "cap", "verify")},
                    policy=Policy(row["policy"]),
                )
            ]
        )
        wanted["design"] = design.label
        pd.testing.assert_frame_equal(pd.DataFrame([row]), wanted)


def test_heads_that_say_the_same_are_replayed_once(
    evaluator: FormedEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, for either half of the prompts, with each shortlist.

    The format of the heads changes prices alone.
    """
    counted: list[int] = []
    count = CompiledReplay.count

    def counting(self: CompiledReplay, designs: Any, *given: Any, **settings: Any) -> Any:
        counted.append(len(designs))
        return count(self, designs, *given, **settings)

    monkeypatch.setattr(CompiledReplay, "count", counting)
    evaluator.evaluate(list(plan(evaluator).space.designs()))
    assert counted == [plan(evaluator).space.size // len(FORMS)] * 4


# -- swept ---------------------------------------------------------------------------------------


def test_several_forms_are_swept_as_each_alone(
    profile: Profile, swept: Sweep, tmp_path: Path
) -> None:
    """Designs refined around the best of each form as well; vanilla is there once."""
    parts = []
    for number, (form, options) in enumerate(ONE_BY_ONE.items()):
        out = tmp_path / str(number)
        assert (
            run(
                "sweep",
                profile.path,
                "--out",
                out,
                "--policies",
                ",".join(Policy),
                *OPTIONS,
                *options,
            )
            == 0
        )
        alone = read_sweep(out).designs
        heads = alone["placement"].map(len) > 0
        parts.append(
            alone[heads].assign(
                form=form, design=[label_in(label, form) for label in alone[heads]["design"]]
            )
        )
        if form == "full":
            parts.append(alone[~heads].assign(form=NO_HEADS))
    wanted = pd.concat(parts)
    got, wanted = (
        rows.sort_values(["device", "design"], ignore_index=True).drop(columns="pareto")
        for rows in (swept.designs, wanted)
    )
    pd.testing.assert_frame_equal(got, wanted[got.columns])


def test_the_best_is_the_best_of_all_forms(swept: Sweep) -> None:
    """So are the front, the choice on half of the prompts, and the ceiling of all heads.

    The ceiling on the same heads is of their form.
    """
    for device, there in swept.designs.groupby("device"):
        best, real = swept.best(str(device)), there[there["policy"] != Policy.ORACLE]
        assert best["tpot_s"] == real["tpot_s"].min()
        assert {form: one["tpot_s"] for form, one in best["forms"].items()} == {
            form: real[real["form"] == form]["tpot_s"].min() for form in ONE_BY_ONE
        }
        assert (
            best["forms"][best["form"]]["design"]
            == best["design"]
            == best["details"]["design"]
            == design_of(best).label
        )
        assert (
            real["pareto"].tolist()
            == pareto_front(real[["tpot_s", "memory_bytes"]].to_numpy()).tolist()
        )
        assert (
            best["held_out"]["best_elsewhere"]
            <= real[["speedup_first", "speedup_second"]].max().mean()
        )
        assert best["oracle"]["same_heads"]["design"].endswith(f" heads {best['form']}")
        assert best["oracle"]["all_heads"]["design"].startswith("oracle 2/4/6 heads ")


def test_forms_are_told_with_what_each_rests_on(swept: Sweep) -> None:
    bases = {(one["device"], one["form"]): one["basis"] for one in swept.about["devices"]}
    assert bases == {
        (device, form): "measured" if (device, form) == ("a100-80gb-sxm", "full") else "carried"
        for device in ("a100-80gb-sxm", "h100-sxm")
        for form in ONE_BY_ONE
    }
    assert swept.about["space"]["forms"] == list(ONE_BY_ONE)
    assert any(
        "heads shortlist:8 int8: the most frequent tokens" in note for note in swept.about["notes"]
    )


def test_other_forms_are_another_sweep(
    profile: Profile, swept: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single one is the sweep that its own options name, and its table has no column for it."""
    options = (*OPTIONS, "--policies", ",".join(Policy))
    assert (
        run("sweep", profile.path, "--out", swept.path, *options, "--head-forms", "full,int8") == 2
    )
    assert "a sweep of other settings" in capsys.readouterr().err
    for form in (("--head-forms", "int8"), ("--head-dtype", "int8")):
        assert (
            run(
                "sweep",
                profile.path,
                "--out",
                tmp_path / "s",
                "--gammas",
                "0.5",
                "--max-heads",
                "1",
                *form,
            )
            == 0
        )
    assert "form" not in read_sweep(tmp_path / "s").designs


def test_an_interrupted_sweep_of_forms_goes_on(evaluator: FormedEvaluator, tmp_path: Path) -> None:
    def interrupt(done: int, _all: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(evaluator, tmp_path / "s", plan(evaluator), interrupt)
    counts: list[int] = []
    done = search(
        evaluator, tmp_path / "s", plan(evaluator), lambda count, _all: counts.append(count)
    )
    assert counts[0] >= 16
    assert counts[-1] == plan(evaluator).space.size
    pd.testing.assert_frame_equal(
        done.designs, search(evaluator, tmp_path / "t", plan(evaluator)).designs
    )


def test_a_search_chooses_the_form(evaluator: FormedEvaluator, tmp_path: Path) -> None:
    """An interrupted search is resumed."""

    def interrupt(_done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(evaluator, tmp_path / "s", plan(evaluator, trials=128), interrupt)
    done = search(evaluator, tmp_path / "s", plan(evaluator, trials=128))
    assert set(done.designs["form"]) == {form.label for form in FORMS}
    assert (
        done.designs["tpot_s"].min()
        <= 1.02 * search(evaluator, tmp_path / "t", plan(evaluator)).designs["tpot_s"].min()
    )


def test_a_cluster_sweeps_forms_alike(evaluator: FormedEvaluator, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    here = search(evaluator, tmp_path / "here", plan(evaluator))
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            protocol="tcp://",
        ) as cluster,
        workers(evaluator, cluster.scheduler_address) as submit,
    ):
        there = run_sweep(plan(evaluator), evaluator, submit, tmp_path / "there", ABOUT)
    pd.testing.assert_frame_equal(here.designs, there.designs)


def test_an_objective_unknown_with_one_form_is_refused(tmp_path: Path) -> None:
    """Or that form would be left out without a word."""
    profile = synthetic_profile(tmp_path / "p", depths=(2, 4, 6), prompts=4)
    shape = ModelShape(
        name="tiny",
        n_layers=8,
        hidden_size=32,
        intermediate_size=64,
        n_heads=4,
        n_kv_heads=2,
        head_dim=8,
        vocab_size=50,
    )
    replay = CompiledReplay.of(Predictor.of(profile).trace)
    ones = [
        Evaluator.of(replay, [measured_latencies(profile)], max_tokens=6, costs=costs)
        for costs in ([ModelCost(shape=shape)], None)
    ]
    both = FormedEvaluator(evaluators=dict(zip((FULL, INT8), ones, strict=True)))
    chosen = SweepPlan(
        space=Space.among((2, 4, 6), 8, gammas=(0.5,), forms=(FULL, INT8)),
        objectives=("tpot", "flops"),
        sources=sources_of(both),
    )
    with pytest.raises(DesignError, match="heads int8: nothing is known of the objective flops"):
        search(both, tmp_path / "s", chosen)
    assert not (tmp_path / "s").exists()


# -- refused, told, shown ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        (("full,int8", "--head-dtype", "int8"), "leave --shortlist and --head-dtype out"),
        (("full,ful",), "wanted a form of heads like full"),
        (("",), "wanted a form of heads like full"),
        (("full,shortlist:32000",), "leaves out none of the 32000"),
    ],
)
def test_forms_that_cannot_be_had_are_refused(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    forms: tuple[str, ...],
    message: str,
) -> None:
    """They are refused before anything is written."""
    assert (
        run("sweep", profile.path, "--out", tmp_path / "s", *OPTIONS, "--head-forms", *forms) == 2
    )
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "s").exists()


def test_full_heads_are_not_had_from_short_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sampled text gives no short heads either."""
    heads = {
        "name": "h",
        "depths": [2, 4, 6],
        "metrics": [],
        "form": {"shortlist": 8, "dtype": None},
    }
    recorded = synthetic_profile(tmp_path / "short", manifest={"heads": heads})
    sampled = synthetic_profile(tmp_path / "sampled", sampling={"temperature": 0.8, "seed": 0})
    for one, message in (
        (recorded, "record it with --shortlist 0"),
        (sampled, "record with --shortlist and the same sampling"),
    ):
        assert (
            run("sweep", one.path, "--out", tmp_path / "s", "--head-forms", "shortlist:8,full") == 2
        )
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "s").exists()


def test_a_machine_that_no_catalogue_knows_is_one_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the name that --from gives it.

    Measured there with heads as recorded, carried with others.
    """
    profile = synthetic_profile(
        tmp_path / "p", manifest={**about(), "hardware": {"device": "a box"}}
    )
    options = ("--max-heads", "1", "--gammas", "0.5", "--head-forms", "full,int8")
    assert run("sweep", profile.path, "--out", tmp_path / "s", *options) == 2
    assert "say which device it was with --from" in capsys.readouterr().err
    assert (
        run("sweep", profile.path, "--out", tmp_path / "s", *options, "--from", "a100-80gb-sxm")
        == 0
    )
    manifest = read_sweep(tmp_path / "s").about
    assert [(one["device"], one["basis"]) for one in manifest["devices"]] == [
        ("a100-80gb-sxm", "measured"),
        ("a100-80gb-sxm", "carried"),
    ]


def test_the_command_tells_the_best_with_each_form(
    profile: Profile, swept: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            "sweep",
            profile.path,
            "--out",
            swept.path,
            "--policies",
            ",".join(Policy),
            *OPTIONS,
            "--head-forms",
            ALL,
        )
        == 0
    )
    out = " ".join(capsys.readouterr().out.split())
    best = swept.best("a100-80gb-sxm")
    each = ", ".join(f"{form} {one['speedup']:.2f}x" for form, one in best["forms"].items())
    assert f"the best with each form of heads: {each};" in out
    assert "heads shortlist:8 int8: the most frequent tokens of the other prompts" in out


def test_a_report_shows_the_forms(swept: Sweep) -> None:
    """In the headline, a table, a drop-down, the hover texts, and what each rests on."""
    pytest.importorskip("plotly")
    report = sweep_report(swept, None, "", created="now")
    best = swept.best("a100-80gb-sxm")
    assert f"(form {best['form']})" in report.headline
    figures, tables = (
        {one.name: one for one in items} for items in (report.figures, report.tables)
    )
    assert tables["forms-table"].frame[["form", "design"]].to_numpy().tolist() == [
        [form, one["design"]]
        for device in swept.about["best"]
        for form, one in swept.best(device)["forms"].items()
    ]
    assert figures["speedup-gamma"].choices[-1].options == tuple(ONE_BY_ONE)
    assert set(figures["speedup-gamma"].drawings) >= {
        ("a100-80gb-sxm", "adadecode", form) for form in ONE_BY_ONE
    }
    for name in ("placements", "pareto"):
        hovered = [
            str(drawing.figure.to_dict()["data"]) for drawing in figures[name].drawings.values()
        ]
        assert any(best["design"] in one for one in hovered)
    assert (
        "a100-80gb-sxm (heads full measured, heads int8 carried"
        in tables["sweep-provenance"].frame["value"].str.cat()
    )


def test_measured_runs_are_of_the_form_that_ran(tmp_path: Path) -> None:
    """Drawn beside the predictions of that form alone."""
    pytest.importorskip("plotly")
    profile = on_a100(tmp_path / "p", runs=True)
    options = ("--gammas", "0.5,0.75", "--max-heads", "3", "--head-forms", "int8,full")
    assert run("sweep", profile.path, "--out", tmp_path / "s", *options) == 0
    report = sweep_report(read_sweep(tmp_path / "s"), profile, "", created="now")
    drawings = next(one for one in report.figures if one.name == "speedup-gamma").drawings
    shown = {
        choice[-1]
        for choice, one in drawings.items()
        if any(trace.name == "measured" for trace in one.figure.data)
    }
    assert shown == {"full"}
