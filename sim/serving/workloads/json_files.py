"""JSON Lines files of requests: Mooncake's traces and the workloads of LLMServingSim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads.json_fields import Fields, ids_of, json_lines, number_of
from adadecode.sim.serving.workloads.trace_rows import TraceRows


@dataclass(frozen=True, kw_only=True)
class JsonFormat:
    """A format of JSON Lines files.

    Attributes:
        name: Whose it is.
        time: Key of the arrival.
        unit_s: Seconds of a unit of it.
        prompt: Key of the tokens of the prompt.
        output: Key of the tokens of the output.
        block_size: Tokens of the blocks that ``hash_ids`` stand for; None where the caller says.
    """

    name: str
    time: str
    unit_s: float
    prompt: str
    output: str
    block_size: int | None = None

    @property
    def keys(self) -> tuple[str, str, str]:
        """The keys that are read."""
        return self.time, self.prompt, self.output


FORMATS = (
    JsonFormat(
        name="Mooncake",
        time="timestamp",
        unit_s=1e-3,
        prompt="input_length",
        output="output_length",
        block_size=512,
    ),
    JsonFormat(
        name="LLMServingSim",
        time="arrival_time_ns",
        unit_s=1e-9,
        prompt="input_toks",
        output="output_toks",
    ),
)


def json_format(first: Fields) -> JsonFormat | None:
    """Return the format of which the first object has most keys; None where it has below two."""
    best = max(FORMATS, key=lambda form: sum(key in first for key in form.keys))
    return best if sum(key in first for key in best.keys) >= 2 else None


def read_json_rows(
    text: str, where: str, form: JsonFormat, block_size: int, *, arrivals: bool = True
) -> TraceRows:
    """Return the rows of a JSON Lines file.

    Args:
        text: The file.
        where: Its name, for messages.
        form: Its format.
        block_size: Tokens of its blocks.
        arrivals: Whether it must say when requests arrive. Where it need not, times may be 0.

    Raises:
        InputError: If a line is no object, or lacks a key.
    """
    wanted = form.keys if arrivals else (form.prompt, form.output)
    lines, numbers, ids = [], [], []
    for line, fields in json_lines(text, where):
        if missing := [key for key in wanted if key not in fields]:
            raise InputError(
                f"line {line} of {where} lacks {', '.join(missing)}: wanted "
                f"{', '.join(form.keys)} of {form.name}"
            )
        time = number_of(fields, form.time) if arrivals else 0.0
        lines.append(line)
        numbers.append((time, number_of(fields, form.prompt), number_of(fields, form.output)))
        ids.append(ids_of(fields, line, where) if "hash_ids" in fields else None)
    known = [one for one in ids if one is not None]
    if known and len(known) < len(ids):
        raise InputError(
            f"wanted hash_ids in every line of {where} or in none, got none in line "
            f"{lines[ids.index(None)]}: add them, or leave all out"
        )
    times, prompts, outputs = np.array(numbers, dtype=np.float64).reshape(-1, 3).T
    return TraceRows(
        where=where,
        lines=np.array(lines, dtype=np.int64),
        arrival_s=times * form.unit_s,
        n_prompt=prompts,
        n_output=outputs,
        ids=tuple(known) if known else None,
        block_size=block_size,
    )
