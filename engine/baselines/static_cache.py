"""``generate`` of ``transformers`` over one static cache, compiled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from transformers import CompileConfig, StaticCache

from adadecode.engine.baselines.baseline import TimedRun
from adadecode.engine.baselines.generate import GenerateBaseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.profiles.errors import InputError

COMPILES = 4
"""Most times that a run is repeated because something was compiled in it."""

WARM = 2
"""Runs that are not counted after the last one in which something was compiled.

In these torch warms up and records its CUDA graphs.
"""


@dataclass(frozen=True, kw_only=True)
class StaticCacheBaseline(GenerateBaseline):
    """``generate`` over one static cache, the forward pass of one token compiled.

    Compilation is timed apart from the run. The cache is made once: transformers would make another
    one in every call, and torch record its CUDA graphs anew for other addresses, in time that is
    measured.

    Attributes:
        longest: Positions of the cache.
    """

    longest: int

    @cached_property
    def cache(self) -> StaticCache:
        """The cache, made once and emptied before each run."""
        return StaticCache(config=self.model.config, max_cache_len=self.longest)

    @cached_property
    def _quiet(self) -> list[TimedRun]:
        """Runs since something was last compiled."""
        return []

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, token ids ``(1, n)``.

        The run is made again where something was compiled on the way, and then `WARM` times more.

        Raises:
            InputError: The text does not fit the cache.
            RuntimeError: Nothing was compiled, or something in every run.
        """
        if ids.shape[1] + max_new_tokens > self.longest:
            raise InputError(
                f"a static cache of {self.longest} positions holds no {ids.shape[1]} and "
                f"{max_new_tokens} new ones: make it longer"
            )
        spent, compiles, uncounted = 0.0, 0, 0
        while compiles < COMPILES:
            before = compiling_seconds()
            self.cache.reset()
            done = self.generated(
                ids, max_new_tokens, {**self.options, "past_key_values": self.cache}
            )
            if not hasattr(self.plain, "_compiled_call"):
                raise RuntimeError(
                    "transformers ran this model over a static cache without compiling it"
                )
            now = compiling_seconds() - before
            if now:
                spent, compiles = spent + now, compiles + 1
                self._quiet.clear()
            elif len(self._quiet) == WARM:
                return replace(done, compile_s=spent, uncounted=uncounted)
            else:
                self._quiet.append(done)
            uncounted += 1
        raise RuntimeError(f"torch.compile compiled anew in each of {COMPILES} runs")


def compiling_seconds() -> float:
    """Return the seconds that this process has spent in ``torch.compile``."""
    from torch._dynamo.utils import calculate_time_spent  # takes seconds to import

    return float(calculate_time_spent().get("total_wall_time", 0.0))


def static_cache_baseline(
    decoder: AdaDecoder, longest: int, backend: str = "inductor"
) -> StaticCacheBaseline:
    """Return ``generate`` over a static cache, compiled; on a CPU too.

    Args:
        decoder: Holds the model.
        longest: Positions of the cache.
        backend: The backend of ``torch.compile``.
    """
    how = CompileConfig(backend=backend)
    how._compile_all_devices = decoder.parts.device.type == "cpu"
    settings = {
        "cache": "one StaticCache, emptied before each run",
        "max_cache_len": longest,
        "backend": how.backend,
        "mode": how.mode,
    }
    return StaticCacheBaseline(
        name="static",
        model=decoder.parts.model,
        eos=decoder.eos,
        options={"compile_config": how},
        settings={**settings, "uncounted": f"runs that compile, and {WARM} after each"},
        needs="a model that torch.compile can compile, and a C++ compiler on a CPU",
        longest=longest,
    )
