"""Matrices in int8 with one scale a row, multiplied by what plain PyTorch has on a device.

They take half the bytes of 16-bit weights. Each product is tried on a few rows before it is
trusted. PyTorch's on CPUs is wrong for widths that are no multiple of 16 (2.13, AVX2), so
everything is padded, and a product that would still be wrong is not used.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

LANES = 32
"""Rows, widths and batches are padded to a multiple of this."""

LARGEST = 127

_CHUNK = 16384  # rows quantised at a time
_TRIED = 64  # rows that a product is tried on
_OFF = 0.05  # of the largest result: more than rounding, far less than a wrong product


def quantised(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise a matrix to int8, with one scale for each row.

    Args:
        weight: Shape ``(n, d)``.

    Returns:
        Codes in int8, shape ``(n', d')``, padded with zeros, and scales in FP32, shape ``(n',)``.
        The weight is codes times scales, within half a scale.
    """
    rows, width = weight.shape
    codes = torch.zeros((_padded(rows), _padded(width)), dtype=torch.int8, device=weight.device)
    scales = torch.ones(len(codes), dtype=torch.float32, device=weight.device)
    for start in range(0, rows, _CHUNK):
        part = weight[start : start + _CHUNK].float()
        scale = (part.abs().amax(1) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
        codes[start : start + len(part), :width] = (part / scale[:, None]).round().to(torch.int8)
        scales[start : start + len(part)] = scale
    return codes, scales


def weight_only(states: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Multiply states ``(b, d)`` by codes that are widened on the way; returns ``(b, n)``.

    On a CPU the states are taken in BF16, the only format in which that is fast.
    """
    given = states.to(torch.bfloat16) if states.device.type == "cpu" else states
    return torch._weight_int8pack_mm(given, codes, scales.to(given.dtype)).float()


def dynamic(states: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Multiply states ``(b, d)`` that are quantised too; returns ``(b, n)``.

    Each row of states has a scale of its own, and integers are multiplied.
    """
    wide = states.float()
    scale = (wide.abs().amax(1, keepdim=True) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    given = F.pad(
        (wide / scale).round().to(torch.int8), (0, 0, 0, _padded(len(states)) - len(states))
    )
    return torch._int_mm(given, codes.t())[: len(states)].float() * (scale * scales)


Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes states, codes and scales, and returns the product in FP32."""

PRODUCTS: dict[str, dict[str, Product]] = {
    "cpu": {"weight-only": weight_only},
    "cuda": {"dynamic": dynamic, "weight-only": weight_only},
}
"""By device, the products in the order in which they are tried; the first that works is taken.

On a GPU the integer product runs on tensor cores. The other one reads a row a thread in PyTorch 2.9
and later; no measurement of it is known to us.
"""


class Int8Matrix:
    """A matrix ``(n, d)`` in int8.

    Args:
        weight: The matrix.
        product: The name of what multiplies it, as another matrix of the same width found out;
            None to find out.

    Attributes:
        product: The name of what multiplies it.

    Raises:
        LookupError: No product of the device works.
    """

    def __init__(self, weight: torch.Tensor, product: str | None = None) -> None:
        self.rows, self.width = weight.shape
        self._codes, self._scales = quantised(weight)
        self.product, self._multiply = (
            _working(self._codes[:_TRIED], self._scales[:_TRIED])
            if product is None
            else (product, PRODUCTS[weight.device.type][product])
        )

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Return the product ``(..., n)`` in FP32 with states ``(..., d)``."""
        flat = states.reshape(-1, self.width)
        if self._codes.shape[1] != self.width:
            flat = F.pad(flat, (0, self._codes.shape[1] - self.width))
        return self._multiply(flat, self._codes, self._scales)[:, : self.rows].reshape(
            *states.shape[:-1], self.rows
        )

    @property
    def dense(self) -> torch.Tensor:
        """The matrix ``(n, d)`` that the codes stand for, in FP32."""
        return (self._codes.float() * self._scales[:, None])[: self.rows, : self.width]


def _padded(size: int) -> int:
    return -(-size // LANES) * LANES


def _working(codes: torch.Tensor, scales: torch.Tensor) -> tuple[str, Product]:
    """Return the first product of this device that multiplies these codes as it should, by name."""
    device, width = codes.device, codes.shape[1]
    states = torch.randn((3, width), generator=torch.Generator().manual_seed(0)).to(device)
    wanted = states @ (codes.float() * scales[:, None]).T
    reasons = []
    for name, product in PRODUCTS.get(device.type, {}).items():
        try:
            off = float((product(states, codes, scales) - wanted).abs().max())
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            reasons.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        if off <= _OFF * float(wanted.abs().max()):
            return name, product
        reasons.append(f"{name}: off by {off:.2g}")
    raise LookupError("; ".join(reasons) or f"PyTorch has none for {device.type}")
