"""Every column of every table of a profile: its name, type, unit and meaning.

`adadecode.profiles.schema` makes the Parquet schemas from these records, and the documentation its
page on the profile format.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: Its name in the Parquet file and in the data frame.
        type: ``int32``, ``float64``, ``bool`` or ``text``; ``list[int32]`` and so on where a row
            holds several (tuples in the data frame).
        meaning: What it holds, as a phrase for the documentation.
        unit: Unit of its numbers; empty where they have none.
        optional: Whether a file may lack it. It is then read as NaN, or as empty lists, and a
            column that holds nothing else is not written.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    optional: bool = False


class TableColumns(NamedTuple):
    """One table of a profile.

    Attributes:
        row: What one row is, as a sentence for the documentation.
        columns: Its columns, in order.
    """

    row: str
    columns: tuple[Column, ...]


_PROMPT = Column("prompt", "int32", "number of the prompt, as in `prompts`")
_REPEAT = Column("repeat", "int32", "number of the repeat")

DESIGN_COLUMNS = (
    Column("policy", "text", "`vanilla`, `adadecode` or `fixed`"),
    Column(
        "placement",
        "list[int32]",
        "depths of the heads in use, rising; empty for `vanilla`",
        "layers",
    ),
    Column(
        "gammas",
        "list[float64]",
        "confidence threshold of each head, in the order of `placement`",
        "probability",
    ),
    Column("cap", "int32", "most drafts in a round", "drafts"),
    Column(
        "verify",
        "bool",
        "whether the last layer verifies the drafts (false only in an ablation)",
    ),
    Column(
        "gates",
        "list[float64]",
        "score that the gate of each head must exceed, in the order of `placement`; empty where "
        "no gate is asked",
        "probability",
        optional=True,
    ),
)
"""Columns that together name a design, the same in several tables."""

DESIGN = tuple(column.name for column in DESIGN_COLUMNS)
"""The names of these columns, in order."""

_GATE = Column(
    "gate",
    "float64",
    "score of the gate before that head: how likely the head is confident and right; NaN where "
    "it has none, and for the last layer",
    "probability",
    optional=True,
)

_LATENCY = TableColumns(
    "One row is one raw sample of one piece of work, timed inside the decode loop.",
    (
        Column(
            "kind",
            "text",
            "what was timed: `embed` (token embedding), `layer` (one decoder layer), `head` (one "
            "check of a head), `gate` (one question to the gate before a head), `verify` (final "
            "norm, LM head and argmax), `prefill` (a whole prompt to its first token) or `host` "
            "(what one piece of work costs outside the model)",
        ),
        Column(
            "layer",
            "int32",
            "0-based layer for `layer`, depth of the head for `head` and `gate`; -1 where it means "
            "nothing",
        ),
        Column("n_tokens", "int32", "tokens computed at once", "tokens"),
        Column(
            "context",
            "int32",
            "positions attended to: the last of the tokens stands at position `context` - 1; 0 "
            "where it means nothing",
            "positions",
        ),
        Column(
            "reuse",
            "int32",
            "layers run since this layer last ran, itself included: fewer when a shallow exit "
            "comes back to it while its weights are still in the cache; 0 where it means nothing",
            "layers",
        ),
        Column(
            "repeat",
            "int32",
            "number of the visit, a stretch of time in which every point is measured once",
        ),
        Column("seconds", "float64", "measured time", "s"),
    ),
)

_PROMPTS = TableColumns(
    "One row is one prompt, and how its continuation ended.",
    (
        _PROMPT._replace(meaning="number of the prompt"),
        Column("domain", "text", "kind of text, as the prompt file names it"),
        Column("n_prompt", "int32", "tokens of the prompt", "tokens"),
        Column("n_output", "int32", "tokens generated, the first one included", "tokens"),
        Column(
            "ended",
            "bool",
            "whether the text ended by itself, with an end token, and not by its budget",
        ),
        Column("first_token", "int32", "the token that the prefill gives", "token id"),
        Column(
            "sha256",
            "text",
            "salted digest of the prompt (the salt is `prompts.salt` in the manifest); empty in a "
            "copy that was shared. The prompt itself is not stored",
        ),
        Column(
            "max_new_tokens", "int32", "most tokens to generate, the first one included", "tokens"
        ),
        Column(
            "in_prompt",
            "list[int32]",
            "tokens of the text, and of what heads said on it, that the prompt holds too",
            "token id",
            optional=True,
        ),
    ),
)

_TRACE = TableColumns(
    "One row is what one head predicts before one committed token. Every trained head is evaluated "
    "at every position, whatever exit was taken, so that any design can be replayed from "
    "these rows.",
    (
        _PROMPT,
        Column(
            "output",
            "int32",
            "number of the generated token, from 1 on; token 0 comes from the prefill",
        ),
        Column(
            "depth",
            "int32",
            "layers computed before the head is evaluated; the number of layers of the model "
            "stands for the last layer itself",
            "layers",
        ),
        Column("token", "int32", "the most likely token according to the head", "token id"),
        Column(
            "confidence",
            "float64",
            "probability of that token according to the head",
            "probability",
        ),
        Column("agrees", "bool", "whether the last layer predicts the same token"),
        Column(
            "acceptance",
            "float64",
            "sum over the vocabulary of the smaller of the head's and the last layer's "
            "probability: how likely a drafted token is accepted when sampling",
            "probability",
        ),
        _GATE,
    ),
)

_BRANCHES = TableColumns(
    "One row is what one head predicts after a wrong draft, off the committed text.",
    (
        _PROMPT,
        Column(
            "output", "int32", "number of the generated token where the first wrong draft stands"
        ),
        Column("path", "list[int32]", "the drafts from there on, the wrong one first", "token ids"),
        Column("depth", "int32", "layers computed before the head is evaluated", "layers"),
        Column("token", "int32", "the most likely token after that path", "token id"),
        Column(
            "confidence",
            "float64",
            "probability of that token according to the head",
            "probability",
        ),
        _GATE,
    ),
)

_RUNS = TableColumns(
    "One row is one timed run of one design on one prompt.",
    (
        *DESIGN_COLUMNS,
        _PROMPT,
        _REPEAT._replace(
            meaning="number of the repeat; the runs of one repeat follow each other within seconds"
        ),
        Column(
            "instrumented",
            "bool",
            "whether each piece of work was timed inside the run (see `works`); such runs are "
            "slower and are never used as run times",
        ),
        Column("n_tokens", "int32", "tokens generated, the first one included", "tokens"),
        Column(
            "prefill_s",
            "float64",
            "time to the first token; on a CPU one prefill serves all runs of a prompt and repeat",
            "s",
        ),
        Column("decode_s", "float64", "time for all tokens after the first", "s"),
        Column(
            "energy_j",
            "float64",
            "energy that the device reports for the run; NaN where it reports none",
            "J",
        ),
    ),
)

_ROUNDS = TableColumns(
    "One row is one round of one design on one prompt, in the order they happened. Greedy rounds "
    "are the same in every repeat.",
    (
        *DESIGN_COLUMNS,
        _PROMPT,
        Column("round", "int32", "number of the round"),
        Column(
            "start",
            "int32",
            "position of the round's first token, counted from the first token of the prompt",
        ),
        Column("exits", "list[int32]", "depth at which each draft was taken", "layers"),
        Column("accepted", "int32", "drafts that the last layer confirmed", "drafts"),
        Column(
            "committed",
            "int32",
            "tokens added to the text: the accepted drafts and the last layer's own token",
            "tokens",
        ),
        Column("segments", "list[int32]", "segment of each piece of layer work, in order"),
        Column("batches", "list[int32]", "tokens computed at once in each of these", "tokens"),
        Column("checks", "list[int32]", "depth of each head that was tested, in order", "layers"),
        Column(
            "gates_asked",
            "list[int32]",
            "depth of each gate that was asked, in order",
            "layers",
            optional=True,
        ),
    ),
)

_WORKS = TableColumns(
    "One row is one piece of work of one instrumented run.",
    (
        *DESIGN_COLUMNS,
        _PROMPT,
        _REPEAT,
        Column("index", "int32", "number of the piece of work in its run"),
        Column("kind", "text", "`run` (layers), `gate`, `check` (a head) or `verify`"),
        Column(
            "seconds",
            "float64",
            "time from the end of the piece before to the end of this one, host time included",
            "s",
        ),
    ),
)

_DRAWS = TableColumns(
    "One row is one random outcome of one design on one prompt. Only sampled profiles have it.",
    (
        *DESIGN_COLUMNS,
        _PROMPT,
        Column(
            "index",
            "int32",
            "number of the piece of work in its run, gates, checks and verifications counted",
        ),
        Column(
            "kind",
            "text",
            "`gate` (a gate scores), `check` (a head draws a token) or `verify` (the last layer "
            "judges the drafts)",
        ),
        Column(
            "confidence",
            "float64",
            "highest probability of the head, which decides the exit, or the score of the gate; "
            "NaN for `verify`",
            "probability",
        ),
        Column(
            "token",
            "int32",
            "the token drawn by the head, or the token that follows the accepted drafts; 0 for "
            "`gate`",
            "token id",
        ),
        Column("accepted", "int32", "accepted drafts for `verify`; 0 for the others", "drafts"),
    ),
)

_BASELINES = TableColumns(
    "One row is one run of a baseline on one prompt, recorded with the designs. The table may be "
    "missing.",
    (
        Column(
            "name",
            "text",
            "the baseline, like `generate` or `lookup:10`, or the label of a design that was "
            "checked",
        ),
        _PROMPT,
        _REPEAT._replace(
            meaning="number of the repeat; -1 is the run that checks the text before anything is "
            "timed"
        ),
        Column("n_tokens", "int32", "tokens generated; 0 where it could not run", "tokens"),
        Column(
            "n_same",
            "int32",
            "how many of them, from the first, equal those of `generate`",
            "tokens",
        ),
        Column("exact", "bool", "whether the whole text equals that of `generate`"),
        Column("n_first", "int32", "tokens that came with the first, in one step", "tokens"),
        Column(
            "prefill_s",
            "float64",
            "time until those were there; NaN where it could not run",
            "s",
        ),
        Column("decode_s", "float64", "time for all tokens after those", "s"),
        Column(
            "compile_s",
            "float64",
            "time spent compiling before this run, counted in neither of the two",
            "s",
        ),
        Column(
            "energy_j",
            "float64",
            "energy that the device reports for the run; NaN where it reports none",
            "J",
        ),
        Column("error", "text", "why it could not run; empty where it could"),
    ),
)

_HEAD_FORMS = TableColumns(
    "One row is one timed check of a head in a form that decoded nothing. The table may be "
    "missing.",
    (
        Column("form", "text", "form of the head, like `int8`, `shortlist:8192` or `full`"),
        Column("depth", "int32", "depth of the head", "layers"),
        Column(
            "reuse",
            "int32",
            "layers run since the last check, as in `latency`",
            "layers",
        ),
        Column("repeat", "int32", "number of the visit, as in `latency`"),
        Column("seconds", "float64", "measured time", "s"),
    ),
)

_SERVING = TableColumns(
    "One row is the time of one piece of a server's step, which computes chunks of prompts and "
    "tokens of several sequences at once. The table may be missing.",
    (
        Column(
            "kind",
            "text",
            "what was timed: `layer` (one decoder layer without its attention), `attention` (the "
            "attention of one layer), `unequal` (the same, of sequences of two different lengths), "
            "`ends` (embedding and final norm), `choice` (LM head and sampler), `check` (one exit "
            "head, norm and LM head included), `gate` (one gate before a head) or `host` (what a "
            "step costs outside the model)",
        ),
        Column(
            "n_tokens",
            "int32",
            "tokens of the step for `layer` and `ends`; rows asked by one product for `choice`, "
            "`check` and `gate`; sequences of the step for `host`; 0 elsewhere",
            "tokens",
        ),
        Column("chunk", "int32", "tokens of one sequence computed at once; 0 for none", "tokens"),
        Column("cached", "int32", "positions of that sequence before them", "positions"),
        Column("n_decode", "int32", "sequences that compute one token", "sequences"),
        Column("context", "int32", "positions of each of those before it", "positions"),
        Column(
            "n_long",
            "int32",
            "how many of those have `long_context` in its place; 0 but for `unequal`",
            "sequences",
        ),
        Column("long_context", "int32", "positions of those", "positions"),
        Column("seconds", "float64", "measured time", "s"),
        Column(
            "equal_seconds",
            "float64",
            "for `unequal`, time of as many sequences that all have the mean context, measured "
            "beside it; `seconds` elsewhere",
            "s",
        ),
        Column(
            "longest_seconds",
            "float64",
            "for `unequal`, the same where all have `long_context`; `seconds` elsewhere",
            "s",
        ),
    ),
)

_RUN = Column("run", "int32", "number of the run, as in `load.runs` of the manifest")
_REQUEST = Column("request", "int32", "number of the request, in the order in which they arrived")

_LOAD_REQUESTS = TableColumns(
    "One row is one request that a batched engine served in real time (`adadecode-load`). Times "
    "are seconds on the clock of its run.",
    (
        _RUN,
        _REQUEST,
        _PROMPT,
        Column("n_prompt", "int32", "tokens of the prompt", "tokens"),
        Column("max_new_tokens", "int32", "most tokens to generate", "tokens"),
        Column("arrival_s", "float64", "when it was submitted", "s"),
        Column("scheduled_s", "float64", "when the first of its work began", "s"),
        Column("token_s", "list[float64]", "when each of its tokens came out", "s"),
        Column("preemptions", "int32", "how often it lost its keys and values"),
    ),
)

_LOAD_STEPS = TableColumns(
    "One row is one step of a batched engine in such a run: one segment, run for all requests that "
    "waited for it, with what they then asked of gates, heads and the last layer.",
    (
        _RUN,
        Column("step", "int32", "number of the step"),
        Column("segment", "int32", "the segment, from 0 on"),
        Column("begun_s", "float64", "when it began", "s"),
        Column("seconds", "float64", "how long it took", "s"),
        Column("arrived", "list[int32]", "requests that were queued since the step before"),
        Column("admitted", "list[int32]", "requests that were admitted before it"),
        Column("preempted", "list[int32]", "requests that lost their keys and values before it"),
        Column("ended", "list[int32]", "requests whose texts ended with it"),
    ),
)

_LOAD_WORK = TableColumns(
    "One row is the part of one request in one of these steps, in the order of the rows.",
    (
        _RUN,
        Column("step", "int32", "number of the step, as in `load_steps`"),
        _REQUEST,
        Column("start", "int32", "first position that was computed"),
        Column("stop", "int32", "position after the last"),
        Column("score", "float64", "what the gate said; NaN where none was asked", "probability"),
        Column(
            "confidence",
            "float64",
            "how sure the head was of its draft; NaN where none was asked",
            "probability",
        ),
        Column("draft", "int32", "the draft of the head; -1 where none was asked", "token id"),
        Column(
            "accepted",
            "int32",
            "drafts that the last layer confirmed; -1 where it was not asked",
            "drafts",
        ),
        Column("token", "int32", "its own token after them; -1 where it was not asked", "token id"),
    ),
)

_LOAD_PIECES = TableColumns(
    "One row is one step of a batched engine that was timed in pieces, apart from all loads. Lists "
    "have an item for each sequence of the step.",
    (
        _RUN._replace(meaning="number of the first run whose engine was set so"),
        Column("segment", "int32", "the segment, from 0 on"),
        Column("rows", "list[int32]", "positions that were computed", "positions"),
        Column("stops", "list[int32]", "position after the last of them"),
        Column("n_prompts", "list[int32]", "tokens of the prompt", "tokens"),
        Column("gates", "int32", "gates that were asked after it, by one product"),
        Column("checks", "int32", "heads that were asked, by one product"),
        Column("verified", "int32", "rows that the last layer was asked about, by one product"),
        Column("embed_s", "float64", "time of the embedding", "s"),
        Column("layers_s", "float64", "time of its layers without their attention", "s"),
        Column("attention_s", "float64", "time of the attention of its layers", "s"),
        Column("gates_s", "float64", "time of the gates", "s"),
        Column("checks_s", "float64", "time of the heads", "s"),
        Column("verified_s", "float64", "time of the last layer's logits and their maxima", "s"),
        Column(
            "host_s",
            "float64",
            "all else, from its beginning to the beginning of the next one",
            "s",
        ),
        Column(
            "wake_s",
            "float64",
            "time from the arrival of a request at an idle engine to the beginning of the step; "
            "NaN where the engine was not idle",
            "s",
            optional=True,
        ),
    ),
)

COLUMNS = {
    "latency": _LATENCY,
    "prompts": _PROMPTS,
    "trace": _TRACE,
    "branches": _BRANCHES,
    "runs": _RUNS,
    "rounds": _ROUNDS,
    "works": _WORKS,
    "draws": _DRAWS,
    "baselines": _BASELINES,
    "head_forms": _HEAD_FORMS,
    "serving": _SERVING,
    "load_requests": _LOAD_REQUESTS,
    "load_steps": _LOAD_STEPS,
    "load_work": _LOAD_WORK,
    "load_pieces": _LOAD_PIECES,
}
"""Every table by name."""
