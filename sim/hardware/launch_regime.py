"""Launch regimes: who starts the kernels of a model, and how many of them there are.

- *eager*: the host starts kernel by kernel, as Hugging Face does. A piece of work takes the larger
  of the host's time to start its kernels and the device's time to run them.
- *graphs*: the same kernels of the framework, recorded once and started together. No host time.
- *engine*: the fewer, fused kernels of a production engine, and no host time.

Where the constants come from: docs/decisions/0053.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from adadecode.profiles.errors import DeviceError


class Regime(StrEnum):
    """How the kernels of a model are started."""

    EAGER = "eager"
    GRAPHS = "graphs"
    ENGINE = "engine"

    @classmethod
    def named(cls, name: str) -> Regime:
        """Return a regime by its name.

        Raises:
            DeviceError: If there is none of this name.
        """
        if name not in list(cls):
            raise DeviceError(f"no launch regime {name!r}: wanted one of {', '.join(cls)}")
        return cls(name)


def no_regime_on_cpu(machine: str, regime: str) -> str:
    """Return why a CPU has no other regime than its own, and what to do."""
    return (
        f"{machine} is a CPU, which starts its work itself: there is no regime {regime} on it; "
        "leave --regime out, or name an accelerator with --to"
    )


FUSED = {"layer": 9, "head": 4, "gate": 3, "verify": 3, "embed": 1}
"""Kernels of a piece of work on a GPU with the usual fusions, attention of a layer aside.

A layer has two norms, rotary embedding, four products, an activation and a sum.
A gate has the final norm, a product with one row, and what makes a score of it.
"""

FUSED_ATTENTION = 1
"""Kernels of attention in a production engine."""

FRAMEWORK = {"layer": 39, "head": 15, "gate": 11, "verify": 12, "embed": 12}
"""The same in Hugging Face, where nothing is fused but attention.

A layer has two norms of 8 (to FP32, square, mean, epsilon, root, product, back, weight), three
products for queries, keys and values, a rotary embedding of 5 each for queries and keys (two
products, a sign, a concatenation, a sum), two concatenations with the cache, the product after
attention, five in the MLP (three products, activation, product of both) and two sums. A test
counts them in `transformers` itself. A head has T, a norm, the LM head, a cast, softmax, maximum, a
comparison and a copy to the host; a gate has a norm, its product, a sigmoid and a copy; a
verification a norm, the LM head, a cast, an argmax and a copy. What stands once before the layers
is counted with ``embed``: the embedding, positions, and angles of the rotary embedding.
"""

FRAMEWORK_ATTENTION = 2
"""Kernels of a framework's attention: one shares the context out, one joins the parts."""

LIGHT = 0.5
"""What a small kernel takes, as a share of `adadecode.sim.hardware.roofline.KERNEL_CYCLES`.

A framework's kernels beyond an engine's are all small: they read and write some rows. A sum of two
rows takes 2 us on an A100 and 1 us on an H100 (published operator times of Vidur, to a
microsecond), which are 2,000 to 2,800 cycles; the gap to the next kernel of a graph is on top.
"""

LIGHT_DOUBT = 0.5
"""Relative error of `LIGHT`, either way."""

KINDS = ("layer", "head", "verify", "prefill")
"""Work of which an answer says whether host or device is its limit."""


def small_kernels(kind: str, regime: Regime, *, attends: bool = False) -> int:
    """Return the small kernels of a piece of work that a production engine fuses into others.

    Args:
        kind: Kind of work, of `FUSED`.
        regime: How kernels are started; it decides how far they are fused.
        attends: Whether it is a layer that attends to its context.
    """
    if regime is Regime.ENGINE:
        return 0
    return host_kernels(kind, attends=attends) - FUSED[kind] - FUSED_ATTENTION * attends


def host_kernels(kind: str, *, attends: bool = True) -> int:
    """Return how many kernels a host starts for a piece of work in a framework.

    Args:
        kind: Kind of work, of `FRAMEWORK`.
        attends: Whether a layer attends to its context.
    """
    return FRAMEWORK[kind] + FRAMEWORK_ATTENTION * (attends and kind == "layer")


def told_limits(limits: Mapping[str, str]) -> str:
    """Return in words which work waits for the host, and which for the device.

    Args:
        limits: ``host`` or ``device`` by kind of work.
    """
    parts = []
    for limit in ("host", "device"):
        kinds = [_WORDS[kind] for kind in KINDS if limits.get(kind) == limit]
        if kinds:
            parts.append(f"the {limit} decides how long {_listed(kinds)} take")
    return "; ".join(parts)


_WORDS = {
    "layer": "layers",
    "head": "head checks",
    "verify": "verifications",
    "prefill": "prompts",
}


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
