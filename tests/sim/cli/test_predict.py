"""``adadecode-sim predict`` on other hardware, and with the text of another model."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import Profile, Trace
from adadecode.profiles.catalog.devices import find_device
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.sweep.store import read_sweep
from tests.support.paths import DEMO_PROFILE
from tests.support.recordings import imported, on_a100
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile

PROMISED = {
    "tpot_s",
    "tokens_per_s",
    "speedup",
    "early_rate",
    "reject_rate",
    "tokens_per_round",
    "modelled_share",
    "ttft_s",
    "design",
}
ADDED = {
    "device",
    "basis",
    "model",
    "hypothetical",
    "notes",
    "tpot_s_low",
    "tpot_s_high",
    "speedup_low",
    "speedup_high",
}
MAP = ["--map", "2:8,6:24"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict_cli")


@pytest.fixture(scope="module")
def profile(folder: Path) -> Profile:
    """Of an A100, with measured runs a tenth slower than predicted where they decode early."""
    return on_a100(folder / "profile", runs=True, slower={"adadecode 2/4/6 gamma 0.75": 1.1})


@pytest.fixture(scope="module")
def operators(folder: Path) -> Profile:
    return imported(folder)


def test_on_the_recorded_machine_the_interval_is_how_its_own_runs_were_missed(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tenth: one of two designs is that much slower than predicted."""
    document = run_json(capsys, "predict", profile.path, "--json")
    assert set(document) >= PROMISED | ADDED
    assert (document["device"], document["basis"], document["hypothetical"], document["notes"]) == (
        "a100-80gb-sxm",
        "measured",
        False,
        [],
    )
    assert document["speedup_high"] == pytest.approx(1.1 * document["speedup"])
    assert document["tpot_s_low"] < document["tpot_s"] < document["tpot_s_high"]
    assert (
        run_json(capsys, "predict", profile.path, "--policy", "vanilla", "--json")["speedup_high"]
        == 1
    )


def test_without_measured_runs_there_is_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ends are null, not left out."""
    document = run_json(capsys, "predict", synthetic_profile(tmp_path / "p").path, "--json")
    assert [
        document[key] for key in ("tpot_s_low", "tpot_s_high", "speedup_low", "speedup_high")
    ] == [None] * 4
    assert document["device"] == "none"


def test_on_another_device_the_interval_is_that_of_all_corners(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Priced one by one with the simulator; vanilla on the same tables."""
    document = run_json(
        capsys,
        "predict",
        profile.path,
        "--to",
        "h100-sxm",
        "--gamma",
        "0.7",
        "--heads",
        "2,6",
        "--json",
    )
    assert (document["device"], document["basis"], document["hypothetical"]) == (
        "h100-sxm",
        "carried",
        False,
    )
    trace, design = Trace.from_profile(profile), Design.of(gamma=0.7, placement=(2, 6))
    tables = carried_latencies(
        profile, find_device("h100-sxm"), max_context=40, max_tokens=6, depths=trace.depths
    ).tables
    each = {
        corner: Predictor(trace=trace, latency=tables[corner]).predict(design) for corner in CORNERS
    }
    assert document["tpot_s"] == pytest.approx(each["middle"].tpot_s)
    assert (document["tpot_s_low"], document["tpot_s_high"]) == (
        pytest.approx(each["low"].tpot_s),
        pytest.approx(each["high"].tpot_s),
    )
    speedups = [one.speedup for one in each.values()]
    assert (document["speedup_low"], document["speedup_high"]) == (
        pytest.approx(min(speedups)),
        pytest.approx(max(speedups)),
    )
    assert document["speedup_low"] < document["speedup"] < document["speedup_high"]


def test_vanilla_is_as_fast_as_itself_on_any_device(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its speedup is 1 at both ends of the interval too."""
    document = run_json(
        capsys, "predict", profile.path, "--to", "l4", "--policy", "vanilla", "--json"
    )
    assert document["speedup_low"] == document["speedup"] == document["speedup_high"] == 1
    assert document["tpot_s_low"] < document["tpot_s"] < document["tpot_s_high"]


def test_a_text_on_the_layers_of_another_model_is_hypothetical(
    profile: Profile, operators: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its heads stand where they are mapped, and are named so."""
    document = run_json(
        capsys,
        "predict",
        operators.path,
        "--trace",
        profile.path,
        "--to",
        "h100-sxm",
        *MAP,
        "--heads",
        "24",
        "--json",
    )
    assert (document["hypothetical"], document["basis"], document["model"]) == (
        True,
        "carried",
        "llama-2-7b",
    )
    assert document["design"]["placement"] == [24]
    assert any(
        "heads stand where they were not trained: 2 at 8, 6 at 24" in note
        for note in document["notes"]
    )
    assert any("attention: not measured" in note for note in document["notes"])
    assert run_json(capsys, "predict", operators.path, "--trace", profile.path, *MAP, "--json")[
        "design"
    ]["placement"] == [8, 24]


def test_the_table_tells_intervals_and_notes(
    profile: Profile, operators: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that it is hypothetical, on which device."""
    assert run("predict", operators.path, "--trace", profile.path, "--to", "h100-sxm", *MAP) == 0
    out = capsys.readouterr().out
    for words in ("on h100-sxm, carried there", "hypothetical", " .. ", "no time of the host"):
        assert words in out


def test_a_datasheet_needs_no_recording_of_latencies(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the trace's own model, which is not hypothetical, or of another one."""
    own = run_json(
        capsys, "predict", "datasheet", "--trace", profile.path, "--to", "h200-sxm", "--json"
    )
    assert (own["basis"], own["device"], own["hypothetical"], own["model"]) == (
        "datasheet",
        "h200-sxm",
        False,
        "eighth of a llama",
    )
    assert any("nothing was measured" in note for note in own["notes"])
    other = run_json(
        capsys,
        "predict",
        "datasheet",
        "--trace",
        profile.path,
        "--to",
        "h200-sxm",
        "--model",
        "llama-3.1-8b",
        *MAP,
        "--json",
    )
    assert (other["hypothetical"], other["model"]) == (True, "llama-3.1-8b")
    assert 0 < other["speedup_low"] <= other["speedup"] <= other["speedup_high"]


def test_narrow_weights_are_noted(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """Faster, on the device of the recording; and the text might be another one."""
    wide, narrow = (
        run_json(capsys, "predict", profile.path, *extra, "--json")
        for extra in ([], ["--dtype", "int4"])
    )
    assert narrow["tpot_s"] < wide["tpot_s"]
    assert (narrow["basis"], narrow["device"]) == ("carried", "a100-80gb-sxm")
    assert any(
        "the text was recorded in fp16: with int4 weights" in note for note in narrow["notes"]
    )


def test_the_error_of_the_branch_model_follows_the_heads(
    profile: Profile, operators: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried on the measured designs with their heads where they stand now.

    Those with a head that was left out are not used.
    """
    drafts = ["--gamma", "0.1", "--json"]
    whole = run_json(
        capsys,
        "predict",
        operators.path,
        "--trace",
        profile.path,
        "--map",
        "2:8,4:16,6:24",
        *drafts,
    )
    assert whole["modelled_share"] > 0
    assert whole["modelled_error"] is not None
    assert (
        run_json(capsys, "predict", operators.path, "--trace", profile.path, *MAP, *drafts)[
            "modelled_error"
        ]
        is None
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace", "PROFILE"], "in proportion with --map 2:8,4:16,6:24"),
        (["--trace", "PROFILE", "--map", "2:x"], "wanted --map as DEPTH:DEPTH"),
        (["--trace", "PROFILE", "--map", "2"], "wanted --map as DEPTH:DEPTH"),
        (["--trace", "PROFILE", "--map", "2:8,2:9"], "--map names a head twice"),
        (["--trace", "PROFILE", "--map", "3:8"], "no head at depth 3 (trained: 2, 4, 6)"),
        (["--trace", "PROFILE", "--map", "2:40"], "mapped to rising depths in 1..31, got 40"),
        (["--trace", "PROFILE", *MAP, "--heads", "2"], "no head at depth 2 (trained: 8, 24)"),
        (["--trace", "PROFILE", *MAP, "--to", "h100-sxn"], "nearest"),
        (["--trace", "PROFILE", *MAP, "--to", "t4", "--dtype", "bf16"], "t4 has no bf16 peak"),
        (["--trace", "PROFILE", *MAP, "--to", "t4", "--dtype", "fp5"], "no dtype 'fp5'"),
        (["--trace", "PROFILE", *MAP, "--to", "t4", "--model", "mistral-7b"], "is of llama-2-7b"),
        (
            ["--trace", "PROFILE", *MAP, "--to", "t4", "--cap", "64"],
            "no latency for 65 tokens at once on t4",
        ),
        (["--to", "t4"], "latencies alone"),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    profile: Profile,
    operators: Profile,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """One message, exit code 2, nothing on stdout."""
    given = [profile.path if one == "PROFILE" else one for one in arguments]
    assert run("predict", operators.path, *given, "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a datasheet holds no text to replay"),
        (["--trace", "PROFILE"], "name it with --to"),
        (["--trace", "PROFILE", "--to", "l4", "--from", "a40"], "leave --from out"),
        (["--trace", "PROFILE", "--to", "l4", "--model", "lama"], "no model 'lama'"),
        (
            ["--trace", "PROFILE", "--to", "l4", "--model", "qwen-72b", "--map", "2:20"],
            "qwen-72b does not fit on l4: it takes",
        ),
    ],
)
def test_a_datasheet_that_says_too_little_is_refused(
    profile: Profile, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """It holds neither a text nor a device."""
    given = [profile.path if one == "PROFILE" else one for one in arguments]
    assert run("predict", "datasheet", *given) == 2
    assert message in capsys.readouterr().err


def test_a_recording_is_of_one_device(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--from may not contradict it, and is needed where the recording does not name it."""
    assert run("predict", profile.path, "--from", "a40") == 2
    assert "was recorded on a100-80gb-sxm, not on a40" in capsys.readouterr().err
    named = run_json(capsys, "predict", profile.path, "--from", "a100-80gb-sxm", "--json")
    assert named == run_json(capsys, "predict", profile.path, "--json")
    assert run("predict", profile.path, "--from", "a40", "--to", "l4") == 2
    assert "was recorded on a100-80gb-sxm, not on a40" in capsys.readouterr().err
    assert run("predict", synthetic_profile(tmp_path / "p").path, "--to", "l4") == 2
    assert "say which device it was with --from" in capsys.readouterr().err


CPU_FILE = """[my-cpu]
title = "AMD EPYC"
vendor = "AMD"
architecture = "other"
memory_gib = 24
bandwidth = 12e9
peak = { fp32 = 60e9 }
datasheet = "not from a datasheet but measured by adadecode-device: bandwidth, peak fp32"
sustained.bandwidth = { value = 12e9, source = "adadecode-device: read, 256 MiB arrays, torch 2.13.0, 1 thread, median of 7, spread 336.0%, 2026-11-30" }
"""  # noqa: E501


def test_a_cpus_times_are_not_carried_to_an_accelerator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The committed recording takes 12 ms a token. An H100 is priced by its datasheet, the same
    with and without the CPU's file: the text alone is carried. A sweep does so too.
    """
    file = tmp_path / "my-cpu.toml"
    file.write_text(CPU_FILE)
    at = ("predict", DEMO_PROFILE, "--heads", "3,7", "--gamma", "0.8", "--to", "h100-sxm")
    alone = run_json(capsys, *at, "--json")
    named = run_json(capsys, *at, "--from", file, "--json")
    assert alone["basis"] == named["basis"] == "datasheet"
    assert alone["tpot_s"] == named["tpot_s"] < 1e-3 < alone["tpot_s"] * 10
    assert alone["tpot_s_low"] == pytest.approx(0.75 * alone["tpot_s"])
    assert "AMD EPYC is a CPU and h100-sxm is none" in " ".join(alone["notes"])
    assert not [note for note in named["notes"] if "waiting on the host" in note]
    tpu = run_json(capsys, *at[:-1], "tpu-v6e", "--json")
    assert "tpu-v6e has no fp32: in bf16, model and heads may say" in " ".join(tpu["notes"])
    out = ("--out", tmp_path / "s", "--max-heads", "1", "--gammas", "0.8", "--threads", "1")
    assert run("sweep", DEMO_PROFILE, "--devices", "h100-sxm", "--from", file, *out) == 0
    (device,) = read_sweep(tmp_path / "s").about["devices"]
    assert device["basis"] == "datasheet"


def test_a_device_file_that_scattered_gives_a_wide_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that tells its spread in words alone, as adadecode-device once wrote it."""
    here, there = tmp_path / "my-cpu.toml", tmp_path / "other.toml"
    here.write_text(CPU_FILE)
    calm = CPU_FILE.replace("[my-cpu]", "[other]").replace("336.0%", "3.0%")
    there.write_text(calm.replace('"other"', '"cpu"'))
    at = ("predict", DEMO_PROFILE, "--heads", "3,7", "--gamma", "0.8", "--from", here, "--json")
    carried = run_json(capsys, *at, "--to", there)
    assert carried["basis"] == "carried"
    assert carried["tpot_s_high"] / carried["tpot_s_low"] > 4
    assert "my-cpu scattered by up to 336%" in " ".join(carried["notes"])


def test_transfer_between_kinds_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my-cpu.toml"
    file.write_text(CPU_FILE)
    assert run("transfer", DEMO_PROFILE, "--from", file, "--to", "l4") == 2
    assert "my-cpu is a CPU and l4 is none" in capsys.readouterr().err
