"""Scaled rotary positions of GGUF files are those of the model that was converted, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.loading.model_loader import layers_of, load_config, load_model
from adadecode.profiles.errors import InputError
from tests.support.gguf_files import llama3_factors, llama_model, write_gguf

FACTORS = "rope_freqs.weight"
IDS = torch.arange(3, 99)[None]


def scaled_model(parameters: dict[str, Any]) -> PreTrainedModel:
    """Return a tiny Llama in FP32 whose positions are scaled, as its authors would load it."""
    return llama_model(rope_parameters={"rope_theta": 10000.0, **parameters}).float()


def llama3(factor: float, base: float = 10000.0) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def read(path: Path) -> PreTrainedModel:
    return load_model(path, "float32", "cpu")[0]


@pytest.mark.parametrize(("factor", "base"), [(8.0, 500000.0), (32.0, 500000.0), (8.0, 10000.0)])
def test_a_model_of_llama_3_computes_what_it_did_before_it_was_written(
    tmp_path: Path, factor: float, base: float
) -> None:
    """The file holds factors by frequency; the config names them again by their parameters."""
    wanted = scaled_model(llama3(factor, base))
    path = tmp_path / "m.gguf"
    factors = llama3_factors(wanted.config.head_dim, base, factor)
    assert len(set(factors.tolist())) > 2  # some are kept, some between, some divided
    write_gguf(path, wanted, quantised=False, extra={FACTORS: factors})
    assert load_config(path).rope_parameters == llama3(factor, base)
    assert torch.equal(logits(read(path)), logits(wanted))
    plain = scaled_model({"rope_type": "default", "rope_theta": base})
    assert not torch.equal(logits(plain), logits(wanted))


def test_factors_of_one_change_nothing(tmp_path: Path) -> None:
    wanted = scaled_model({"rope_type": "default"})
    extra = {FACTORS: np.ones(8, dtype=np.float32)}
    write_gguf(tmp_path / "m.gguf", wanted, quantised=False, extra=extra)
    assert torch.equal(logits(read(tmp_path / "m.gguf")), logits(wanted))


@pytest.mark.parametrize(
    "factors",
    [
        llama3_factors(16, 500000.0, 8.0),  # of another base than the file's
        llama3_factors(32, 10000.0, 8.0),  # of wider heads
        np.linspace(1, 8, 8, dtype=np.float32),
        np.full(8, np.nan, dtype=np.float32),
        np.zeros(8, dtype=np.float32),
        np.full(8, np.inf, dtype=np.float32),
    ],
    ids=["base", "width", "line", "nan", "zero", "inf"],
)
def test_factors_that_no_model_of_llama_3_has_are_refused(
    tmp_path: Path, factors: np.ndarray
) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, llama_model(), extra={FACTORS: factors})
    with pytest.raises(InputError, match=r"by factors \(rope_freqs\.weight\) that are not those"):
        load_model(path, "float32", "cpu")
    assert layers_of(path) is None


def test_factors_in_another_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, llama_model(), extra={FACTORS: np.full(8, 8, dtype=np.float16)})
    with pytest.raises(InputError, match=r"rope_freqs\.weight of .* as one row in single precisio"):
        load_model(path, "float32", "cpu")


@pytest.mark.parametrize(
    "said",
    [
        {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.factor": 4.0},
        {"llama.rope.scale_linear": 4.0},
    ],
)
def test_positions_that_are_divided_are_divided(tmp_path: Path, said: dict[str, Any]) -> None:
    """`transformers` reads none of these settings, and would write another text."""
    wanted = scaled_model({"rope_type": "linear", "factor": 4.0})
    write_gguf(tmp_path / "m.gguf", wanted, quantised=False, settings=said)
    assert torch.equal(logits(read(tmp_path / "m.gguf")), logits(wanted))


@pytest.mark.parametrize(
    "said",
    [
        {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1.0},
        {"llama.rope.scaling.factor": 0.0},
    ],
)
def test_positions_that_are_not_divided_are_left(tmp_path: Path, said: dict[str, Any]) -> None:
    wanted = scaled_model({"rope_type": "default"})
    write_gguf(tmp_path / "m.gguf", wanted, quantised=False, settings=said)
    assert torch.equal(logits(read(tmp_path / "m.gguf")), logits(wanted))


@pytest.mark.parametrize(
    ("kind", "factor"), [("yarn", 4.0), ("yarn", 1.0), ("linear", -2.0), ("linear", np.nan)]
)
def test_other_scalings_are_refused_by_name(tmp_path: Path, kind: str, factor: float) -> None:
    said = {"llama.rope.scaling.type": kind, "llama.rope.scaling.factor": float(factor)}
    write_gguf(tmp_path / "m.gguf", llama_model(), settings=said)
    with pytest.raises(InputError, match=rf"scales its rotary positions \({kind}, by {factor:g}\)"):
        load_model(tmp_path / "m.gguf", "float32", "cpu")
