"""What steps take, from an import, a recording and a datasheet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, LatencyError, ShapeError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.prediction.predictor import predict
from adadecode.sim.serving.kv_memory import kv_blocks_of_memory
from adadecode.sim.serving.latency.found_steps import FoundSteps, StepsWanted, find_steps
from adadecode.sim.serving.latency.step_times import Line, StepTimes
from adadecode.sim.serving.scheduling.step import Chunk, StepWork
from adadecode.sim.serving.served_run import Server, run_server
from adadecode.sim.serving.workloads import arrivals
from tests.sim.hardware.importers.test_llmservingsim import KERNELS, folder_of
from tests.support.paths import ROOT

BARE = KERNELS["layernorm"] + sum(
    time for name, time in KERNELS.items() if name not in ("embedding", "final_layernorm")
)
"""Microseconds of a layer without attention."""


def steps(profile: Profile | None, **wanted: str | bool) -> FoundSteps:
    return find_steps(
        profile,
        StepsWanted(context=4096, prompt=2048, tokens=2048, **wanted),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    place = tmp_path_factory.mktemp("served")
    return import_llmservingsim(folder_of(place / "f"), place / "p")


def test_a_step_is_the_sum_of_its_kernels(imported: Profile) -> None:
    found = steps(imported)
    assert (found.basis, found.device) == ("measured", "rtx-4090")
    alone = found.price(StepWork(contexts=[1024]))
    assert alone == pytest.approx(1e-6 * (32 * (BARE + 10 + 10.24) + 5 + 1125))
    prompt = found.price(StepWork(chunks=[Chunk(32, 2048)]))
    assert prompt == pytest.approx(1e-6 * (32 * (BARE + 10 + 2048 / 20) + 5 + 1125))
    mixed = found.price(StepWork(chunks=[Chunk(16, 16)], contexts=[1024] * 4))
    assert mixed == pytest.approx(1e-6 * (32 * (BARE + 99) + 5 + 1125))
    assert found.price.beyond == 0
    found.price(StepWork(chunks=[Chunk(64, 0)]))
    assert found.price.beyond == 1


def test_groups_of_unequal_lengths_are_read_and_can_be_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f")
    header = "n,nb,pc,kp,kvs,kv_big,t_mean_us,t_max_us,t_skew_us"
    rows = ["2,1,0,0,128,512,30,50,35", "4,1,0,0,128,512,30,50,nan"]
    (folder / "skew.csv").write_text("\n".join([header, *rows]) + "\n")
    for number, (words, applies) in enumerate((("true", True), ("false", False))):
        meta = folder / "meta.yaml"
        meta.write_text(
            meta.read_text().partition("skew_fit")[0] + f"skew_fit:\n  enabled: {words}\n"
        )
        profile = import_llmservingsim(folder, tmp_path / f"p{number}")
        assert (profile.serving["kind"] == "unequal").sum() == 1
        assert (steps(profile).price.unequal.error is not None) is applies
        assert steps(profile, unequal_contexts=True).price.unequal.error == pytest.approx(0)
        assert steps(profile, unequal_contexts=False).price.unequal.error is None


def test_steps_that_follow_each_other_take_what_each_takes(tmp_path: Path) -> None:
    """Bit for bit, and counted alike, with groups of unequal lengths and without."""
    folder = folder_of(tmp_path / "f")
    header = "n,nb,pc,kp,kvs,kv_big,t_mean_us,t_max_us,t_skew_us"
    (folder / "skew.csv").write_text(f"{header}\n2,1,0,0,128,512,30,50,35\n")
    profile = import_llmservingsim(folder, tmp_path / "p")
    sheet = steps(None, device="h100-sxm", model="llama-3.1-8b").price
    table = steps(profile, unequal_contexts=False).price
    unequal = steps(profile, unequal_contexts=True).price
    assert unequal.unequal.alone is not None
    for price in (sheet, table, unequal):
        for contexts in ([1], [1000], [7, 7], [1020, 5, 340]):
            before = price.steps, price.beyond
            each = [
                price(StepWork(contexts=[one + step for one in contexts])) for step in range(40)
            ]
            counted = price.steps - before[0], price.beyond - before[1]
            assert price.decoding(contexts, 40) == each
            price.count(contexts, 40)
            assert price.steps == before[0] + 2 * counted[0]
            assert price.beyond == before[1] + 2 * counted[1]


def test_a_datasheet_prices_a_step_above_its_bytes() -> None:
    found = steps(None, device="h100-sxm", model="llama-3.1-8b")
    assert found.basis == "datasheet"
    one = found.price(StepWork(contexts=[1000]))
    assert 15e9 / 3.35e12 < one < 10e-3
    more = found.price(StepWork(contexts=[1000] * 64))
    assert one < more < 4 * one
    prompt = found.price(StepWork(chunks=[Chunk(2048, 0)]))
    assert 2 * 2048 * 7e9 / 989e12 < prompt < 0.1


def test_a_recording_of_one_sequence_prices_steps_of_several() -> None:
    profile = read_profile(ROOT / "profiles/recorded/demo-cpu")
    found = steps(profile)
    table, last = profile.latency_table, max(profile.latency_table.contexts)
    one = found.price(StepWork(contexts=[last]))
    reuse = max(table.reuses)
    alone = table.layers(0, profile.n_layers, 1, last, reuse) + table.verify(1) + table.embed(1)
    assert one == pytest.approx(alone, rel=0.1)
    assert found.price(StepWork(contexts=[last] * 8)) > one
    assert "one sequence alone" in found.notes[-1]


def test_one_sequence_alone_takes_the_time_that_a_prediction_gives_vanilla() -> None:
    """With a host that takes a third of the time, which a step has twice as a prediction has it."""
    recorded = read_profile(ROOT / "profiles/recorded/demo-cpu")
    latency = recorded.latency.copy()
    latency.loc[latency["kind"] == "host", "seconds"] = 3e-3
    profile = replace(recorded, latency=latency)
    predicted = predict(profile, Design.of("vanilla")).tpot_s
    alone = arrivals("closed:1,count=3,prompt=100,output=60")
    served = run_server(profile, alone, Server(kv_blocks=100)).metrics.tpot_s
    assert served is not None
    assert served.mean == pytest.approx(predicted, rel=0.03)
    # Of a host that costs twice as much a step has twice the difference.
    latency.loc[latency["kind"] == "host", "seconds"] = 6e-3
    slower = steps(replace(recorded, latency=latency)).price(StepWork(contexts=[100]))
    assert slower - steps(profile).price(StepWork(contexts=[100])) == pytest.approx(6e-3)


def test_a_recording_is_carried_to_another_device(imported: Profile) -> None:
    found = steps(imported, device="h100-sxm")
    assert found.basis == "carried"
    assert found.price(StepWork(contexts=[1000])) < steps(imported).price(StepWork(contexts=[1000]))


@pytest.mark.parametrize(
    ("wanted", "error"),
    [({}, DeviceError), ({"device": "h100-sxm"}, ShapeError)],
)
def test_a_datasheet_needs_a_device_and_a_model(
    wanted: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error, match="datasheet"):
        steps(None, **wanted)


def test_a_table_that_lacks_a_piece_is_refused(imported: Profile) -> None:
    rows = imported.serving
    with pytest.raises(LatencyError, match="kind choice"):
        StepTimes.of(rows[rows["kind"] != "choice"], 32)


def test_a_line_goes_on_by_the_last_time_for_each_piece() -> None:
    line = Line.of({1: 10.0, 3: 30.0, 4: 32.0})
    assert [line.at(one) for one in (1, 2, 4, 8)] == [10.0, 20.0, 32.0, 64.0]


def test_blocks_are_what_memory_leaves() -> None:
    shape, precision = find_model("llama-3.1-8b"), Precision.of("bf16", "bf16")
    sizes = {"block_size": 16, "max_batched_tokens": 2048, "max_num_seqs": 256}
    # vLLM found 2,588 on this card.
    card = find_device("rtx-4090")
    assert kv_blocks_of_memory(shape, card, precision, **sizes) == pytest.approx(2588, rel=0.1)
    with pytest.raises(DeviceError, match="no room for keys and values"):
        kv_blocks_of_memory(find_model("llama-3.1-70b"), card, precision, **sizes)
