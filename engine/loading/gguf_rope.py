"""Rotary positions as a GGUF file says them, of which `transformers` reads the base alone."""

from __future__ import annotations

import math
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from adadecode.engine.loading.gguf_header import GgufHeader
from adadecode.profiles.errors import InputError

FACTORS = "rope_freqs.weight"
"""The tensor by which each frequency of a head is divided."""

_LLAMA3 = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""The published parameters of Llama 3.1 and 3.2, without the factor: 8 in the one, 32 in the other.
A GGUF file holds what follows from them, and not the parameters."""

_CLOSE = 1e-5
"""How far a frequency may be from that of the parameters, as a share: single precision."""


def scale_positions(config: PretrainedConfig, header: GgufHeader) -> None:
    """Give a config the scaling of rotary positions that its GGUF file says.

    Args:
        config: As `transformers` made it of the file.
        header: The head of the file.

    Raises:
        InputError: The file scales them in a way that has no name here.
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    is_plain = parameters.get("rope_type") == "default"
    kind, factor = _scaling(header)
    factors = header.floats(FACTORS)
    if factors is not None and not np.array_equal(factors, np.ones_like(factors)):
        found = _llama3(config, factors) if is_plain and factor == 1 else None
        if found is None:
            raise _unknown(header, f"by factors ({FACTORS}) that are not those of Llama 3.1 or 3.2")
        config.rope_parameters = found
    elif is_plain or not parameters.get("rope_type"):
        if kind not in ("none", "linear"):
            raise _unknown(header, f"({kind}, by {factor:g})")
        if factor == 1:
            return
        if not is_plain or not 0 < factor < math.inf:
            raise _unknown(header, f"({kind}, by {factor:g})")
        config.rope_parameters = {**parameters, "rope_type": "linear", "factor": factor}


def _scaling(header: GgufHeader) -> tuple[str, float]:
    """Return how a file's settings scale positions, and by how much; by 1 where they do not.

    A file that names a factor alone means it to be linear.
    """
    settings, prefix = header.settings, f"{header.architecture}.rope"
    kind = str(settings.get(f"{prefix}.scaling.type", "linear"))
    older = settings.get(f"{prefix}.scale_linear", 1.0)
    factor = settings.get(f"{prefix}.scaling.factor", older)
    if kind == "none" or not isinstance(factor, int | float):
        return kind, 1.0
    return kind, float(factor) or 1.0


def _llama3(config: PretrainedConfig, factors: NDArray[np.float32]) -> dict[str, Any] | None:
    """Return the parameters that divide the frequencies of a head by these factors.

    Args:
        config: With plain rotary positions.
        factors: One for each frequency, (width of a head / 2,).

    Returns:
        The parameters; None where none of `_LLAMA3` do so.
    """
    largest = float(factors.max())
    if not (factors.min() >= 1 and largest < math.inf):
        return None
    plain, scaled = (
        {**config.rope_parameters, **_LLAMA3, "factor": factor} for factor in (1.0, largest)
    )
    frequencies = _frequencies(config, plain)
    if frequencies.shape != factors.shape:
        return None
    is_close = np.allclose(frequencies / factors, _frequencies(config, scaled), rtol=_CLOSE, atol=0)
    return scaled if is_close else None


def _frequencies(config: PretrainedConfig, parameters: dict[str, Any]) -> NDArray[np.float32]:
    """Return the frequencies of a head by Llama 3's rule, (width of a head / 2,)."""
    changed = copy(config)
    changed.rope_parameters = parameters
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](changed, torch.device("cpu"))
    found: NDArray[np.float32] = frequencies.numpy()
    return found


def _unknown(header: GgufHeader, how: str) -> InputError:
    return InputError(
        f"{header.path} scales its rotary positions {how}, which transformers does not read from "
        "GGUF files: give its safetensors instead"
    )
