"""A sweep: every design once, kept as it goes, the same wherever it runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest

from adadecode.profiles.errors import DesignError, InputError, ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.sweep import runner
from adadecode.sim.sweep.best_design import design_of
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.pareto import pareto_front
from adadecode.sim.sweep.plan import SweepPlan
from adadecode.sim.sweep.runner import run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import Sweep, read_sweep
from tests.support.sweeps import ABOUT, sources_of
from tests.support.synthetic_profile import synthetic_profile

DEPTHS = (2, 4, 6)
NOTED = {**ABOUT, "note": "here"}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    profile = synthetic_profile(tmp_path_factory.mktemp("sweep") / "p", depths=DEPTHS, prompts=6)
    predictor = Predictor.of(profile)
    return Evaluator.of(
        CompiledReplay.of(predictor.trace, predictor.model),
        [measured_latencies(profile)],
        max_tokens=6,
    )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PART", 8)


def plan(evaluator: Evaluator, **settings) -> SweepPlan:
    whole = {key: settings.pop(key) for key in ("objectives", "trials") if key in settings}
    space = Space.among(
        DEPTHS, 8, **{"gammas": (0.2, 0.5, 0.8), "max_heads": 2, "caps": (2, 5), **settings}
    )
    return SweepPlan(
        space=space, **{"objectives": ("tpot",), "sources": sources_of(evaluator), **whole}
    )


def swept(evaluator: Evaluator, out: Path, chosen: SweepPlan | None = None, progress=None) -> Sweep:
    with workers(evaluator, threads=2) as submit:
        return run_sweep(chosen or plan(evaluator), evaluator, submit, out, NOTED, progress)


def test_every_design_is_there_once_and_the_best_is_the_best(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    chosen = plan(evaluator, policies=(Policy.VANILLA, Policy.ADADECODE, Policy.FIXED))
    done = swept(evaluator, tmp_path / "s", chosen)
    designs = list(chosen.space.designs())
    labels = done.designs["design"].tolist()
    assert labels[: len(designs)] == [design.label for design in designs]
    assert len(set(labels)) == len(labels) >= len(designs)  # after them, those refined
    device = done.designs["device"][0]
    best = done.best(device)
    assert best["tpot_s"] == done.designs["tpot_s"].min()
    assert best["tpot_s"] == pytest.approx(evaluator.evaluate([design_of(best)])["tpot_s"][0])
    assert done.about["optimal"]
    assert done.about["note"] == "here"
    front = pareto_front(done.designs[["tpot_s"]].to_numpy())
    assert done.designs["pareto"].tolist() == front.tolist()


def test_the_best_is_refined_head_by_head(evaluator: Evaluator, tmp_path: Path) -> None:
    """No change of one threshold of the refined best helps."""
    done = swept(evaluator, tmp_path / "s")
    device = done.designs["device"][0]
    best = design_of(done.best(device))
    grid = done.designs.iloc[: plan(evaluator).space.size]["tpot_s"].min()
    assert done.best(device)["tpot_s"] <= grid
    for head in range(len(best.placement)):
        for gamma in plan(evaluator).space.gammas:
            changed = Design.of(
                gamma=(*best.gammas[:head], gamma, *best.gammas[head + 1 :]),
                placement=best.placement,
                cap=best.cap,
            )
            assert evaluator.evaluate([changed])["tpot_s"][0] >= done.best(device)["tpot_s"]


def test_the_oracle_and_other_prompts_put_the_best_in_its_place(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    done = swept(evaluator, tmp_path / "s")
    best = done.best(done.designs["device"][0])
    assert best["oracle"]["same_heads"]["design"].startswith("oracle")
    held = best["held_out"]
    assert held["elsewhere"] <= held["best_elsewhere"]
    assert best["prompts"]["speedup_low"] <= best["speedup"] <= best["prompts"]["speedup_high"]


def test_an_interrupted_sweep_goes_on_where_it_was(evaluator: Evaluator, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(done: int, _all: int) -> None:
        if done >= 16:
            raise Interrupted

    out = tmp_path / "s"
    with pytest.raises(Interrupted):
        swept(evaluator, out, progress=interrupt)
    with pytest.raises(ProfileError, match="unfinished"):
        read_sweep(out)
    kept = sorted((out / "parts").iterdir())
    assert len(kept) >= 2
    batches: list[int] = []

    def submit(designs: Sequence[Design]) -> Future[pd.DataFrame]:
        batches.append(len(designs))
        future: Future[pd.DataFrame] = Future()
        future.set_result(evaluator.evaluate(designs))
        return future

    done = run_sweep(plan(evaluator), evaluator, submit, out, ABOUT)
    assert sum(batches) == plan(evaluator).space.size - 8 * len(kept)
    whole = swept(evaluator, tmp_path / "t")
    pd.testing.assert_frame_equal(done.designs, whole.designs)
    assert sorted(path.name for path in out.iterdir()) == ["designs.parquet", "sweep.json"]


def test_ctrl_c_keeps_the_parts_and_says_how_to_go_on(evaluator: Evaluator, tmp_path: Path) -> None:
    out = tmp_path / "s"

    def interrupt(done: int, _all: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupted:
        swept(evaluator, out, progress=interrupt)
    kept = f"the parts that are finished are kept in {out}; sweep again as before to go on"
    assert str(interrupted.value) == f"interrupted: {kept}"
    assert sorted(path.name for path in out.iterdir()) == ["parts", "plan.json"]
    assert len(list((out / "parts").iterdir())) >= 2
    pd.testing.assert_frame_equal(
        swept(evaluator, out).designs, swept(evaluator, tmp_path / "t").designs
    )


def test_two_sweeps_into_one_directory_are_refused(evaluator: Evaluator, tmp_path: Path) -> None:
    """The second one, with a message; the first goes on."""
    refused: list[str] = []

    def start_another() -> None:
        with pytest.raises(InputError, match="another process is writing into") as error:
            swept(evaluator, tmp_path / "s")
        refused.append(str(error.value))

    def meanwhile(_done: int, _all: int) -> None:
        if not refused:
            other = Thread(target=start_another)
            other.start()
            other.join()

    done = swept(evaluator, tmp_path / "s", progress=meanwhile)
    assert len(refused) == 1
    assert len(done.designs) >= plan(evaluator).space.size


def test_a_finished_sweep_is_read_not_run(evaluator: Evaluator, tmp_path: Path) -> None:
    first = swept(evaluator, tmp_path / "s")
    again = run_sweep(
        plan(evaluator),
        evaluator,
        lambda _designs: pytest.fail("evaluated again"),
        tmp_path / "s",
        ABOUT,
    )
    assert again.about == first.about


def test_another_sweeps_directory_is_refused(evaluator: Evaluator, tmp_path: Path) -> None:
    swept(evaluator, tmp_path / "s")
    with pytest.raises(ProfileError, match="other settings"):
        swept(evaluator, tmp_path / "s", plan(evaluator, caps=(3,)))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ProfileError, match="not empty"):
        swept(evaluator, tmp_path / "other")


def test_a_changed_table_is_refused(evaluator: Evaluator, tmp_path: Path) -> None:
    swept(evaluator, tmp_path / "s")
    table = tmp_path / "s" / "designs.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(ProfileError, match="truncated or was changed"):
        read_sweep(tmp_path / "s")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("{", "wanted JSON in"),
        ("[]", "not about a sweep"),
        ('{"schema": "adadecode-sweep", "schema_version": 9}', "version 9"),
    ],
)
def test_what_is_no_sweep_is_refused(about: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(about)
    with pytest.raises(ProfileError, match=message):
        read_sweep(tmp_path)


def test_an_objective_of_which_nothing_is_known_is_refused(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    chosen = plan(evaluator, objectives=("energy",))
    with pytest.raises(DesignError, match="nothing is known of the objective energy"):
        swept(evaluator, tmp_path / "s", chosen)


@pytest.mark.parametrize(
    "objectives", [("tpot",), ("speedup", "tpot")], ids=["one objective", "two"]
)
def test_a_search_finds_what_an_exhaustive_sweep_finds(
    objectives: tuple[str, ...], evaluator: Evaluator, tmp_path: Path
) -> None:
    """Or nearly: its thresholds are continuous, its trials few. It claims to prove nothing."""
    chosen = plan(evaluator, objectives=objectives, trials=128)
    counts: list[int] = []
    done = swept(evaluator, tmp_path / "s", chosen, lambda count, _all: counts.append(count))
    assert counts == [64, 128]
    assert (done.about["method"], done.about["optimal"]) == ("optuna", False)
    exhaustive = swept(evaluator, tmp_path / "t")
    assert done.designs["tpot_s"].min() <= 1.02 * exhaustive.designs["tpot_s"].min()
    assert {design_of(row).placement for row in done.designs.to_dict("records")} <= set(
        plan(evaluator).space.placements
    )


def test_an_interrupted_search_goes_on(evaluator: Evaluator, tmp_path: Path) -> None:
    chosen = plan(evaluator, trials=128)

    def interrupt(done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="sweep again as before to go on"):
        swept(evaluator, tmp_path / "s", chosen, interrupt)
    counts: list[int] = []
    swept(evaluator, tmp_path / "s", chosen, lambda count, _all: counts.append(count))
    assert counts == [128]


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        protocol="tcp://",
    ) as two:
        yield two


def test_a_cluster_gives_the_same_and_survives_the_death_of_a_worker(
    cluster, evaluator: Evaluator, tmp_path: Path
) -> None:
    """Two worker processes; one is killed half way."""
    from distributed import Client

    chosen = plan(evaluator, gammas=tuple(i / 100 for i in range(100)))  # 150 parts
    here = swept(evaluator, tmp_path / "here", chosen)
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        pids = list(client.run(os.getpid).values())
    assert len(pids) == 2
    killed: list[int] = []

    def kill(done: int, count: int) -> None:
        if not killed and done >= count // 2:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    with workers(evaluator, cluster.scheduler_address) as submit:
        there = run_sweep(chosen, evaluator, submit, tmp_path / "there", NOTED, kill)
    assert killed
    pd.testing.assert_frame_equal(here.designs, there.designs)
    assert json.dumps({**here.about, "created": 0, "sha256": 0, "digest": 0}) == json.dumps(
        {**there.about, "created": 0, "sha256": 0, "digest": 0}
    )


def test_an_interrupted_sweep_on_a_cluster_does_not_wait_for_its_parts(
    cluster, evaluator: Evaluator
) -> None:
    parts: list[Future[pd.DataFrame]] = []

    def interrupted() -> None:
        with workers(evaluator, cluster.scheduler_address) as submit:
            parts.extend(
                submit(list(plan(evaluator, gammas=(i / 1000,)).space.designs()))
                for i in range(300)
            )
            assert len(parts[0].result()) == plan(evaluator, gammas=(0.5,)).space.size
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert any(part.cancelled() for part in parts)
    for part in parts:
        assert part.done()


@pytest.mark.parametrize("address", ["nonsense", "localhost", "tcp://localhost", ""])
def test_an_address_without_a_port_is_refused(evaluator: Evaluator, address: str) -> None:
    pytest.importorskip("distributed")
    with (
        pytest.raises(InputError, match=r"wanted the Dask scheduler as tcp://host:port, got"),
        workers(evaluator, address),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("adadecode.sim.sweep.executor.SECONDS_TO_CONNECT", 1)
    with (
        pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        workers(evaluator, "tcp://127.0.0.1:1"),
    ):
        pass


def test_the_oracle_is_never_the_best_nor_on_the_front(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    done = swept(
        evaluator, tmp_path / "s", plan(evaluator, policies=(Policy.ORACLE, Policy.ADADECODE))
    )
    fastest = done.designs.loc[done.designs["tpot_s"].idxmin()]
    assert fastest["policy"] == "oracle"
    assert done.best(str(fastest["device"]))["policy"] == "adadecode"
    assert set(done.designs.loc[done.designs["pareto"], "policy"]) == {"adadecode"}
