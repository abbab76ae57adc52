"""Runs of a design on a prompt: timed as a whole, or piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.profiling.latency_walks import Take, mark_works
from adadecode.engine.profiling.piece_store import Row
from adadecode.engine.runtime.environment import EnergyMeter
from adadecode.engine.runtime.timer import synchronized_now
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Round

Start = Callable[[], Decoding]
"""Prefills a prompt, or restores it, and returns the decoding that goes on from there."""


def columns(design: Design) -> Row:
    """Return a design as the columns of the tables runs, rounds, works and draws."""
    return {
        "policy": str(design.policy),
        "placement": list(design.placement),
        "gammas": list(design.gammas),
        "cap": design.cap,
        "verify": design.verify,
        "gates": list(design.gates),
    }


def round_columns(number: int, done: Round) -> Row:
    """Return a round as the columns of the table rounds, without its design and prompt."""
    segments, batches = zip(*done.work, strict=True)
    return {
        "round": number,
        "start": done.start,
        "exits": list(done.exits),
        "accepted": done.accepted,
        "committed": done.committed,
        "segments": list(segments),
        "batches": list(batches),
        "checks": list(done.checks),
        "gates_asked": list(done.gates),
    }


@dataclass(frozen=True, kw_only=True)
class Prefill:
    """A prompt that was run once, for all runs that follow it.

    Attributes:
        prompt: What was computed of it.
        seconds: How long that took.
        joules: The energy that it took.
    """

    prompt: PrefilledPrompt
    seconds: float
    joules: float


def timed_prefill(
    decoder: AdaDecoder, ids: torch.Tensor, max_new_tokens: int, meter: EnergyMeter
) -> Prefill:
    """Run a prompt, timed up to its first token, and keep it.

    Args:
        decoder: The model.
        ids: Token ids of the prompt, shape (1, n).
        max_new_tokens: The most tokens that the runs will add.
        meter: Reads the energy that the device has taken.
    """
    devices, joules = decoder.parts.devices, meter.joules()
    begun = synchronized_now(*devices)
    prompt = decoder.prefill(ids, max_new_tokens)
    int(prompt.logits.argmax())
    seconds = synchronized_now(*devices) - begun
    joules = meter.joules() - joules
    with torch.inference_mode():
        prompt.keep(decoder.parts)
    return Prefill(prompt=prompt, seconds=seconds, joules=joules)


def timed_run(
    start: Start,
    devices: tuple[torch.device, ...],
    meter: EnergyMeter,
    prefill: Prefill | None = None,
) -> tuple[list[Round], Row]:
    """Decode once, timed as a whole.

    Args:
        start: Prefills the prompt, or restores it.
        devices: Devices to wait for before the clock is read.
        meter: Reads the energy that the device has taken.
        prefill: The prompt that ``start`` restores; None where it runs it.

    Returns:
        The rounds, and the columns ``n_tokens``, ``prefill_s``, ``decode_s`` and ``energy_j``.
    """
    joules = meter.joules()
    begun = synchronized_now(*devices)
    decoding = start()
    prefilled = synchronized_now(*devices)
    with decoding.parts.session():
        for _ in decoding.steps():
            pass
    ended = synchronized_now(*devices)
    schedule = decoding.schedule
    row = {
        "n_tokens": len(schedule.tokens),
        "prefill_s": prefilled - begun if prefill is None else prefill.seconds,
        "decode_s": ended - prefilled,
        "energy_j": meter.joules() - joules + (0.0 if prefill is None else prefill.joules),
    }
    return schedule.rounds, row


def instrumented_run(
    start: Start,
    devices: tuple[torch.device, ...],
    take: Take | None = None,
    prefill: Prefill | None = None,
) -> tuple[Row, list[tuple[str, float]]]:
    """Decode once, timing each piece of work.

    Args:
        start: Prefills the prompt.
        devices: Devices to wait for before the clock is read.
        take: Called with the outcome of each piece, within its time.
        prefill: See `timed_run`.

    Returns:
        The columns that `timed_run` gives, without energy, and the kind and seconds of each piece.
    """
    begun = synchronized_now(*devices)
    decoding = start()
    prefilled = synchronized_now(*devices)
    kinds, clock = mark_works(decoding, take)
    ended = synchronized_now(*devices)
    row = {
        "n_tokens": len(decoding.schedule.tokens),
        "prefill_s": prefilled - begun if prefill is None else prefill.seconds,
        "decode_s": ended - prefilled,
        "energy_j": float("nan"),
    }
    return row, list(zip(kinds, clock.intervals(), strict=True))
