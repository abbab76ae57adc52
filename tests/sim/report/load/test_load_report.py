"""Reports on a plan and on a load: what they say, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.report.load.load_figures import cost_figure, front, load_figure
from adadecode.sim.report.load.load_report import load_report
from adadecode.sim.report.load.plan_file import PlanFile, read_plan
from adadecode.sim.report.load.run_report import distribution_figure, queue_figure
from tests.support.load_folders import LOAD, write_plan
from tests.support.sim_command import run

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
pytest.importorskip("jinja2", reason="a report needs jinja2: install the extra 'report'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("load") / "plan")


@pytest.fixture(scope="module")
def plan(folder: Path) -> PlanFile:
    return read_plan(folder)


def test_the_table_of_trials_is_that_of_the_plan(plan: PlanFile, folder: Path) -> None:
    """Limits, margins and costs fit together, and the load of a server is its share."""
    trials, written = plan.trials, pd.read_csv(folder / "trials.csv")
    assert len(trials) == 2 * len(written)  # objectives
    np.testing.assert_allclose(trials["margin"], 1 - trials["reached_s"] / trials["limit_s"])
    several = trials[trials["seeds"] > 1]
    assert len(several)
    assert (several["low_s"] <= several["reached_s"]).all()
    assert (several["reached_s"] <= several["high_s"]).all()
    assert trials[trials["seeds"] == 1]["low_s"].isna().all()
    np.testing.assert_allclose(trials["load"] * trials["replicas"], plan.workload["rate"])
    price = trials["device"].map({"slow-card": 1.0, "fast-card": 3.0})
    np.testing.assert_allclose(trials["hourly"], trials["replicas"] * price)
    worst = trials.groupby(["device", "replicas"])["margin"].min().sort_index()
    theirs = written.set_index(["device", "replicas"])["margin"].sort_index()
    np.testing.assert_allclose(worst, theirs)
    chosen = trials[trials["chosen"]].groupby("device")["replicas"].first()
    met = plan.deployments[plan.deployments["meets"]].set_index("device")["replicas"]
    assert chosen.to_dict() == met.to_dict()


def test_the_front_holds_what_nothing_beats() -> None:
    rows = pd.DataFrame(
        {
            "x": [1.0, 2.0, 2.0, 3.0, 4.0, np.nan],
            "reached_s": [5.0, 4.0, 3.0, 3.0, 1.0, 0.1],
            "verdict": ["stable", "stable", "backlogged", "stable", "overloaded", "stable"],
        }
    )
    assert front(rows)[["x", "reached_s"]].to_numpy().tolist() == [[1, 5], [2, 3]]


def test_figures_hold_every_trial_with_its_interval(plan: PlanFile) -> None:
    part = plan.trials[plan.trials["objective"] == "ttft_p99"]
    for figure in (load_figure(part), cost_figure(part)):
        lines = {one.name: one for one in figure.data if one.name != "front"}
        assert list(lines) == ["slow-card", "fast-card"]
        for device, line in lines.items():
            rows = part[part["device"] == device]
            assert len(line.x) == len(rows)
            assert sorted(line.y) == pytest.approx(sorted(1e3 * rows["reached_s"]), rel=1e-4)
            opened = [one == "circle-open" for one in line.marker.symbol]
            assert sum(opened) == (rows["verdict"] == "overloaded").sum()
    seconds = load_figure(part.assign(limit_s=2.0))
    assert seconds.layout.yaxis.title.text == "TTFT, p99, s"


def test_the_page_says_what_is_cheapest(plan: PlanFile, folder: Path) -> None:
    report = load_report(folder)
    assert report is not None
    best = plan.deployments.set_index("device").loc[plan.cheapest]
    assert report.headline.startswith(f"{best['replicas']} server")
    assert f"of {plan.cheapest} meet" in report.headline
    assert "the objectives for least" in report.headline
    assert [one.label for one in report.facts] == ["slow-card", "fast-card"]
    assert {one.name for one in report.figures} == {"load-latency", "cost-latency"}
    assert all(one.summary for figure in report.figures for one in figure.drawings.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hourly": (None, None)}, "the fewest that meet"),
        ({"slo": "tpot_mean=1ms", "seeds": 1}, "No number of servers"),
        ({"load": "closed:9,count=40,prompt=20,output=9", "seeds": 1}, "for least"),
    ],
)
def test_plans_without_prices_answers_or_rates_are_reported(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    report = load_report(write_plan(tmp_path / "plan", **options))  # type: ignore[arg-type]
    assert report is not None
    assert words in report.headline
    assert "nan" not in f"{report.facts} {report.headline} {report.lead}".lower()


def test_the_command_writes_the_page_and_its_tables(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tables = tmp_path / "r.html", tmp_path / "csv"
    assert (
        run("report", folder, "--out", out, "--markdown", tmp_path / "r.md", "--csv", tables) == 0
    )
    assert "the objectives for least" in capsys.readouterr().out
    assert 'id="load-latency"' in out.read_text()
    assert (tables / "trials.csv").exists()
    assert run("report", folder, "--out", out, "--profile", folder) == 2


def test_names_that_try_to_be_more_stay_text(tmp_path: Path) -> None:
    hostile = "<b onclick=x>card</b>"
    folder = write_plan(tmp_path / "plan", names=(hostile, "other"), seeds=1)
    assert run("report", folder, "--out", tmp_path / "r.html") == 0
    assert hostile not in (tmp_path / "r.html").read_text()


def test_a_served_load_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("datasheet", "--to", "h100-sxm", "--model", "llama-3.1-8b", "--replicas", 2)
    spec = LOAD.replace("150", "60")
    assert run("serve", *words, "--arrivals", spec, "--out", tmp_path / "s") == 0
    capsys.readouterr()
    assert run("report", tmp_path / "s", "--out", tmp_path / "r.html") == 0
    assert "a first token in" in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text()
    for name in ("over-time", "distribution", "queue"):
        assert f'id="{name}"' in page


def test_a_queue_is_summed_over_servers_and_stays_between_steps() -> None:
    steps = pd.DataFrame(
        {
            "server": [0.0, 1.0, 0.0],
            "start_s": [0.0, 0.0, 10.0],
            "running": [1.0, 2.0, 5.0],
            "waiting": [0.0, 4.0, 0.0],
        }
    )
    running, waiting = queue_figure(steps).data
    assert (running.y[0], running.y[-1]) == (3.0, 7.0)
    assert (waiting.y[0], waiting.y[-1]) == (4.0, 4.0)


def test_a_distribution_goes_from_the_shortest_to_the_longest() -> None:
    frame = pd.DataFrame({"ttft_s": [0.3, 0.1, np.nan, 0.2]})
    (line,) = distribution_figure(frame, "ttft").data
    assert list(line.x) == [100, 200, 300]
    assert list(line.y) == [0, 50, 100]


def test_a_plan_that_is_not_as_it_was_written_is_refused(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "plan.json").read_text())
    copy = tmp_path / "plan"
    copy.mkdir()
    (copy / "trials.csv").write_text("x\n")
    broken = [
        [],
        {**document, "slo": "x"},
        {**document, "deployments": [{**document["deployments"][0], "margins": 3}]},
        {**document, "deployments": []},
        {name: value for name, value in document.items() if name != "workload"},
    ]
    for one in broken:
        (copy / "plan.json").write_text(json.dumps(one))
        with pytest.raises(InputError):
            read_plan(copy)


def test_other_directories_are_no_load(tmp_path: Path) -> None:
    assert load_report(tmp_path) is None
    (tmp_path / "plan.json").write_text("{}")
    assert load_report(tmp_path) is None
