"""What a profile holds: the tables, their columns, and the manifest. The only thing that passes from engine to simulator.

Positions count from the first token of the prompt; *output* counts generated tokens: output 0 comes from the prefill, output
i is predicted by the token at position ``n_prompt + i - 1``. Seconds, joules, bytes.

Decoding is greedy, or sampled where the manifest says so under ``sampling`` (temperature, top_k, top_p, seed). Confidences and acceptances
are then those of the distributions after temperature, top-k and top-p; heads say their likeliest token; the committed text, and so
what the last layer says, is drawn. Measured runs drew texts of their own, of which the table draws keeps every outcome.

======== ===========================================================================================================
table    one row is
======== ===========================================================================================================
latency  one raw sample of one piece of work, in place, walking the stack
prompts  one prompt: its domain, length, and how its greedy continuation ended
trace    what one head would say before one committed output (counterfactual: every head, whatever exit was taken)
branches the same off the committed path, after a wrong draft
runs     one timed run of one design on one prompt
rounds   one round of one design on one prompt (the same in every repeat), in the order they happened
works    one piece of work of one *instrumented* run, with its measured seconds
draws    one outcome of one design on one prompt: what a head drew, or what the last layer let hold (sampled profiles only)
======== ===========================================================================================================
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA = "adadecode-profile"
SCHEMA_VERSION = 2
"""2 may hold sampled texts. A greedy profile is still written as version 1, and both are read."""
MANIFEST = "manifest.json"

LATENCY_KINDS = ("embed", "layer", "head", "verify", "prefill", "host")
"""What a latency sample timed.

``embed``: token embedding of n_tokens. ``layer``: decoder layer ``layer`` (0-based) for n_tokens at once, the last of them at
position ``context`` - 1, run again after ``reuse`` layers had been run (itself included): L walking the whole stack, fewer when a shallow exit
comes back to it sooner and finds its weights still in the cache. ``head``: one check of the head at depth ``layer``.
``verify``: final norm, LM head and argmax over n_tokens rows. ``prefill``: a whole prompt of n_tokens to its first token.
``host``: what one piece of work costs outside the model (scheduler, bookkeeping); n_tokens is 1.
Where layer, reuse or context mean nothing, they are -1, 0 and 0.
"""

_int, _float, _bool, _text = pa.int32(), pa.float64(), pa.bool_(), pa.string()

TABLES: dict[str, pa.Schema] = {
    "latency": pa.schema(
        [
            ("kind", _text),
            ("layer", _int),
            ("n_tokens", _int),
            ("context", _int),
            ("reuse", _int),
            ("repeat", _int),
            ("seconds", _float),
        ]
    ),
    "prompts": pa.schema(
        [
            ("prompt", _int),
            ("domain", _text),
            ("n_prompt", _int),
            ("n_output", _int),
            ("ended", _bool),
            ("first_token", _int),
            ("sha256", _text),
            ("max_new_tokens", _int),  # its budget, the prefill's token included
        ]
    ),
    "trace": pa.schema(
        [
            ("prompt", _int),
            ("output", _int),  # 1..n_output-1
            ("depth", _int),  # every head, and L for the last layer itself
            ("token", _int),  # top-1
            ("confidence", _float),  # its probability
            ("agrees", _bool),  # token equals the last layer's
            (
                "acceptance",
                _float,
            ),  # sum(min(p_head, p_final)): the acceptance probability when sampling
        ]
    ),
    "branches": pa.schema(
        [
            ("prompt", _int),
            ("output", _int),  # output index of the first wrong draft
            ("path", pa.list_(_int)),  # the drafts from there on, the wrong one first
            ("depth", _int),
            ("token", _int),
            ("confidence", _float),
        ]
    ),
    "runs": pa.schema(
        [
            ("policy", _text),
            ("placement", pa.list_(_int)),
            ("gammas", pa.list_(_float)),
            ("cap", _int),
            ("verify", _bool),
            ("prompt", _int),
            ("repeat", _int),
            ("instrumented", _bool),
            ("n_tokens", _int),  # outputs, the prefill's included
            ("prefill_s", _float),
            ("decode_s", _float),  # all outputs but the first
            ("energy_j", _float),  # NaN where the device does not tell
        ]
    ),
    "rounds": pa.schema(
        [
            ("policy", _text),
            ("placement", pa.list_(_int)),
            ("gammas", pa.list_(_float)),
            ("cap", _int),
            ("verify", _bool),
            ("prompt", _int),
            ("round", _int),
            ("start", _int),  # position of its first token
            ("exits", pa.list_(_int)),  # depth of each draft
            ("accepted", _int),
            ("committed", _int),
            ("segments", pa.list_(_int)),  # of each Run, in order ...
            ("batches", pa.list_(_int)),  # ... and its n_tokens
            ("checks", pa.list_(_int)),  # depth of each head tested, in order
        ]
    ),
    "works": pa.schema(
        [
            ("policy", _text),
            ("placement", pa.list_(_int)),
            ("gammas", pa.list_(_float)),
            ("cap", _int),
            ("verify", _bool),
            ("prompt", _int),
            ("repeat", _int),
            ("index", _int),  # order in the run
            ("kind", _text),  # run | check | verify
            (
                "seconds",
                _float,
            ),  # from the end of the work before to the end of this one: host time included
        ]
    ),
}

SAMPLED_TABLES: dict[str, pa.Schema] = {
    "draws": pa.schema(
        [
            ("policy", _text),
            ("placement", pa.list_(_int)),
            ("gammas", pa.list_(_float)),
            ("cap", _int),
            ("verify", _bool),
            ("prompt", _int),
            ("index", _int),  # order in the run, checks and verifies counted
            ("kind", _text),  # check | verify
            ("confidence", _float),  # of a check: the head's highest probability; NaN of a verify
            ("token", _int),  # drawn by the head, or what follows the drafts that hold
            ("accepted", _int),  # of a verify: drafts that hold; 0 of a check
        ]
    ),
}
"""Tables that only a sampled profile has."""

OPTIONAL_TABLES: dict[str, pa.Schema] = {
    "baselines": pa.schema(
        [
            (
                "name",
                _text,
            ),  # like generate or lookup:10; a design's label where one of ours was checked
            ("prompt", _int),
            ("repeat", _int),  # -1: the run that checks the text before anything is timed
            ("n_tokens", _int),  # outputs; 0 where it did not run
            ("n_same", _int),  # how many of them, from the first, are generate's
            ("exact", _bool),  # whether the whole text is
            ("n_first", _int),  # outputs that came with the first, in one step
            ("prefill_s", _float),  # until they were there; NaN where it did not run
            ("decode_s", _float),  # all outputs after these
            ("compile_s", _float),  # spent compiling before this run, and in neither of the two
            ("energy_j", _float),
            ("error", _text),  # why it did not run; empty where it did
        ]
    ),
}
"""Tables that a profile may have. Read as empty where it has not."""

ALL_TABLES = TABLES | SAMPLED_TABLES | OPTIONAL_TABLES

REQUIRED_MANIFEST = (
    "schema",
    "schema_version",
    "model",
    "heads",
    "hardware",
    "software",
    "dtype",
    "seed",
    "prompts",
    "settings",
    "limitations",
    "eos_token_ids",
    "max_new_tokens",
    "tables",
)
