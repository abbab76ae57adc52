"""Draw the requests of a specification of arrivals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.workloads.arrival_spec import (
    ArrivalSpec,
    parse_arrivals,
    whole_number_of,
)
from adadecode.sim.serving.workloads.arrival_times import read_arrival_times
from adadecode.sim.serving.workloads.duration import parse_duration
from adadecode.sim.serving.workloads.length_draws import Lengths, draw_pairs, parse_length
from adadecode.sim.serving.workloads.request_file import read_lengths
from adadecode.sim.serving.workloads.workload import MOST_REQUESTS, Workload


def arrivals(
    spec: str,
    *,
    count: int | None = None,
    duration_s: float | None = None,
    lengths: Sequence[tuple[int, int]] | None = None,
    seed: int | None = None,
) -> Workload:
    """Draw requests.

    The same seed gives the same requests. It gives the same lengths at every rate, and the same
    pattern of arrivals, stretched.

    Args:
        spec: When they arrive, as `parse_arrivals` reads it, and after commas how many there are
            (``count=1000`` or ``duration=600s``), how long they are (``prompt=`` and ``output=``,
            as `parse_length` reads them, or ``lengths=FILE`` to draw from a trace) and ``seed=``.
            With ``times:FILE`` all arrivals of the file count where nobody says how many.
        count: How many; instead of the word in ``spec``.
        duration_s: All arrive before that many seconds; instead of the word in ``spec``. With a
            count too, what comes first counts.
        lengths: Tokens of the prompt and of the output of each request of a trace, from which
            they are drawn; instead of the words in ``spec``.
        seed: Seed of all draws; instead of the word in ``spec``. It is 0 where nobody says.

    Raises:
        InputError: If the specification cannot be read, says a thing twice, or lacks how many or
            how long.
    """
    parsed = parse_arrivals(spec)
    count, duration_s = _how_many(parsed, count, duration_s)
    seed = _seed(parsed, seed)
    # A stream each, so that a change of one leaves the others as they are.
    times_rng, prompt_rng, output_rng = (
        np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(3)
    )
    if parsed.in_flight is not None:
        times: NDArray[np.float64] = np.zeros(count or 0)
    else:
        process = parsed.process or read_arrival_times(str(parsed.file))
        times = process.times(times_rng, count, duration_s)
    if not len(times):
        raise InputError(
            f"wanted requests, got none that arrive before {duration_s:g} s with {spec!r}: give a "
            "longer duration or another seed"
        )
    if len(times) > MOST_REQUESTS:
        raise InputError(
            f"wanted at most {MOST_REQUESTS:,} requests, got more with {spec!r}: give a shorter "
            "duration or a lower rate"
        )
    prompts, outputs = _lengths(parsed, lengths, (prompt_rng, output_rng), len(times))
    requests = tuple(
        Request(name=str(index), arrival_s=time, n_prompt=prompt, n_output=output)
        for index, (time, prompt, output) in enumerate(
            zip(times.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
        )
    )
    return Workload(
        requests=requests,
        source=spec,
        in_flight=parsed.in_flight,
        seed=seed,
    )


def _how_many(
    parsed: ArrivalSpec, count: int | None, duration_s: float | None
) -> tuple[int | None, float | None]:
    """Return how many requests there are and how long they arrive. Raises InputError."""
    if (text := _once(parsed, "count", count)) is not None:
        count = whole_number_of(text)
        if count is None:
            raise InputError(
                f"wanted count as a whole number from 1 to {MOST_REQUESTS:,}, got {text[:40]!r}"
            )
    if (text := _once(parsed, "duration", duration_s)) is not None:
        duration_s = parse_duration("duration", text)
    if parsed.in_flight is not None and (count is None or duration_s is not None):
        raise InputError(
            f"wanted a count, and no duration, in a closed loop, got {parsed.text!r}: how long it "
            "takes is what the simulation answers; add count=1000"
        )
    if count is None and duration_s is None and parsed.file is None:
        raise InputError(
            f"wanted how many requests arrive with {parsed.text!r}, got nothing: add count=1000 or "
            "duration=600s"
        )
    if count is not None and not 1 <= count <= MOST_REQUESTS:
        raise InputError(f"wanted count from 1 to {MOST_REQUESTS:,}, got {count:,}")
    if duration_s is not None and not duration_s > 0:
        raise InputError(f"wanted a duration above 0 s, got {duration_s:g}")
    if duration_s is not None and count is None and parsed.file is None:
        count = MOST_REQUESTS + 1
    return count, duration_s


def _seed(parsed: ArrivalSpec, seed: int | None) -> int:
    text = _once(parsed, "seed", seed)
    if text is not None:
        found = whole_number_of(text)
        if found is None:
            raise InputError(
                f"wanted seed as a whole number from 0 on, of 18 digits at most, got {text[:40]!r}"
            )
        return found
    if seed is not None and seed < 0:
        raise InputError(f"wanted seed as a whole number from 0 on, got {seed}")
    return seed or 0


def _lengths(
    parsed: ArrivalSpec,
    pairs: Sequence[tuple[int, int]] | None,
    draws: tuple[np.random.Generator, np.random.Generator],
    count: int,
) -> tuple[Lengths, Lengths]:
    """Return the lengths of prompts and outputs. Raises InputError."""
    if (file := _once(parsed, "lengths", pairs)) is not None:
        pairs = read_lengths(file)
    words = [word for word in ("prompt", "output") if word in parsed.words]
    if pairs is not None:
        if words:
            raise InputError(
                f"wanted lengths of a trace or {words[0]}, got both in {parsed.text!r}: leave one "
                "out"
            )
        return draw_pairs(pairs, draws[0], count)
    if len(words) < 2:
        raise InputError(
            f"wanted how long requests are with {parsed.text!r}: add prompt=512,output=128 or "
            "lengths=FILE"
        )
    prompt, output = (parse_length(word, parsed.words[word]) for word in ("prompt", "output"))
    return prompt.draw(draws[0], count), output.draw(draws[1], count)


def _once(parsed: ArrivalSpec, word: str, given: object) -> str | None:
    """Return a word of the specification. Raises InputError where it is given beside it too."""
    text = parsed.words.get(word)
    if text is not None and given is not None:
        raise InputError(f"wanted {word} once, got it in {parsed.text!r} and beside it")
    return text
