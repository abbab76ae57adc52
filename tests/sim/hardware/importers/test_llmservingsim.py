"""Layers that LLMServingSim measured under vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles.errors import DeviceError, InputError, ProfileError
from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.hardware.importers.served_tables import LAYER

SHARED = Path(__file__).resolve().parents[5] / "shared/data/llmservingsim/RTX4090/Llama-3.1-8B"
KERNELS = {
    "layernorm": 2, "qkv_proj": 55, "rotary_emb": 2, "o_proj": 38, "gate_up_proj": 247,
    "act_fn": 3, "down_proj": 126, "embedding": 3, "final_layernorm": 2,
}  # fmt: skip
"""Microseconds."""


def folder_of(place: Path) -> Path:
    place.mkdir(exist_ok=True)
    sizes = (1, 2, 16, 32)
    lines = [f"{name},{n},{us}" for n in sizes for name, us in KERNELS.items()]
    (place / "dense.csv").write_text("\n".join(["layer,tokens,time_us", *lines]) + "\n")
    lines = [f"{name},{n},{us}" for n in sizes for name, us in (("lm_head", 1100), ("sampler", 25))]
    (place / "per_sequence.csv").write_text("\n".join(["layer,sequences,time_us", *lines]) + "\n")
    attention = [
        *(f"0,0,1,{kv},{10 + kv / 100}" for kv in (16, 1024)),
        *(f"{chunk},{kv},0,0,{10 + kv / 20}" for chunk in (16, 32) for kv in (0, 2048)),
        "16,16,4,1024,99",
    ]
    header = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"
    (place / "attention.csv").write_text("\n".join([header, *attention]) + "\n")
    (place / "meta.yaml").write_text(
        "vllm_version: 0.19.0\ngpu: NVIDIA GeForce RTX 4090\nmodel: meta-llama/Llama-3.1-8B\n"
        "engine:\n  model: tmp\n"
    )
    return place


def test_a_layer_is_the_sum_of_its_kernels(tmp_path: Path) -> None:
    profile = import_llmservingsim(folder_of(tmp_path / "f"), tmp_path / "p")
    table, bare = profile.latency_table, sum(KERNELS[name] * n for name, n in LAYER.items())
    assert profile.manifest["hardware"]["device"] == "rtx-4090"
    assert profile.n_layers == 32
    assert table.layer(0, 1, 17, 32) == pytest.approx(1e-6 * (bare + 10.16))
    assert table.layer(0, 16, 1025, 32) == pytest.approx(1e-6 * (bare + 10 + (1025 - 16) / 20))
    between = (10.16 + (1025 - 17) / 100, 10 + (1025 - 16) / 20)
    middle = between[0] + (between[1] - between[0]) / 15
    assert table.layer(0, 2, 1025, 32) == pytest.approx(1e-6 * (bare + middle))
    assert table.verify(1) == pytest.approx(1127e-6)
    assert table.head(5, 32) == pytest.approx(1165e-6)
    assert table.prefill(16) == pytest.approx(1e-6 * (32 * (bare + 10) + 1127))
    bases = {
        (one["n_tokens"], one["context"]): one["parts"][-1]["basis"]
        for one in profile.manifest["settings"]["rests_on"]
        if one["kind"] == "layer"
    }
    assert bases[1, 17] == "measured"
    assert bases[2, 1025] == "interpolated"


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("meta.yaml", None, InputError, "no meta.yaml"),
        ("dense.csv", None, ProfileError, "no file .*dense.csv"),
        ("dense.csv", ("time_us", "time_ms"), ProfileError, "lacks the columns time_us"),
        ("dense.csv", ("o_proj", "other"), ProfileError, "holds no times of o_proj"),
        ("dense.csv", ("247", "-1"), ProfileError, "a time above 0 us in line 6"),
        ("dense.csv", ("247", "2470000"), ProfileError, "give times in microseconds"),
        ("attention.csv", ("0,0,1,", "0,0,2,"), ProfileError, "no time of a single token"),
        ("meta.yaml", ("4090", "4099"), DeviceError, "name it with --device"),
    ],
)
def test_a_folder_that_cannot_be_meant_is_refused(
    tmp_path: Path, name: str, change, error: type[Exception], message: str
) -> None:
    path = folder_of(tmp_path / "f") / name
    if change is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(*change))
    with pytest.raises(error, match=message):
        import_llmservingsim(tmp_path / "f", tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the published times in ../shared/data")
def test_published_times_give_a_step_above_its_bytes(tmp_path: Path) -> None:
    """Llama-3.1-8B reads 15 GB, 14.9 ms at the 1008 GB/s of the datasheet."""
    table = import_llmservingsim(SHARED, tmp_path / "p").latency_table
    step = table.layers(0, 32, 1, 1024, 32) + table.verify(1) + table.embed(1)
    assert 15e-3 < step < 18e-3


SKEW = "regime,n,nb,ratio,skew,pc,kp,kvs,kv_big,kv_mean,t_mean_us,t_max_us,t_skew_us,alpha"
WHOLE = "pure,2,1,0.5,4.0,0,0,128,512,320,52,56,53,0.29"
TIMELESS = "pure,2,1,0.5,4.0,0,0,256,1024,640,,,,"


@pytest.mark.parametrize(
    ("rows", "line"),
    [((WHOLE, "pure,2"), 3), ((TIMELESS, WHOLE, "pure,2"), 4), ((TIMELESS, TIMELESS), 2)],
)
def test_a_half_written_table_of_unequal_lengths_is_refused(
    tmp_path: Path, rows: tuple[str, ...], line: int
) -> None:
    folder = folder_of(tmp_path / "f")
    (folder / "skew.csv").write_text("\n".join([SKEW, *rows]) + "\n")
    with pytest.raises(ProfileError, match=f"in line {line} of .*skew.csv"):
        import_llmservingsim(folder, tmp_path / "p")


def test_measurements_of_unequal_lengths_that_failed_are_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f")
    (folder / "skew.csv").write_text(f"{SKEW}\n{TIMELESS}\n{WHOLE}\n")
    serving = import_llmservingsim(folder, tmp_path / "p").serving
    assert (serving["kind"] == "unequal").sum() == 1
