"""The flip report: counted by hand on known logits, and exact where nothing can flip."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adadecode.engine.cli.entry_points import flips_main, train_main
from adadecode.engine.cli.tables import flip_tables
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.evaluation import token_flips
from adadecode.engine.evaluation.token_flips import EDGES, flip_report, force_text
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.quantization import weight_config
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design, Policy
from tests.support.models import N_LAYERS, random_prompt, tiny_model

DESIGNS = [
    Design.of(Policy.ADADECODE, gamma=0.0, placement=(2, 4)),
    Design.of(Policy.FIXED, placement=(3,), cap=3),
]
PROMPTS = [random_prompt(length)[0].tolist() for length in (1, 6, 11)]


def decoder(dtype: torch.dtype = torch.float64, **options: Any) -> AdaDecoder:
    model = tiny_model("llama", dtype)
    made = AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)), **options)
    made.eos = frozenset()
    return made


def test_nothing_flips_in_fp64() -> None:
    report = flip_report(decoder(), PROMPTS, DESIGNS, 16, batches=(2, 5))
    assert [row["design"] for row in report["designs"]] == [
        "vanilla",
        *(design.label for design in DESIGNS),
    ]
    for row in report["designs"]:
        assert (row["texts"], row["equal_texts"], row["tokens"], row["flips"], row["beyond"]) == (
            3,
            3,
            48,
            0,
            0,
        )
        assert row["first_divergence"] is row["gaps"] is None
    assert [(row["rows"], row["tokens"], row["flips"]) for row in report["batches"]] == [
        (2, 48, 0),
        (5, 48, 0),
    ]


def test_nothing_flips_in_canonical_numerics() -> None:
    report = flip_report(
        decoder(torch.bfloat16, numerics="canonical"), PROMPTS, DESIGNS, 16, batches=(4,)
    )
    assert report["numerics"] == "canonical"
    assert report["dtype"] == "bfloat16"
    assert sum(row["flips"] for row in report["designs"] + report["batches"]) == 0


def test_a_text_is_judged_by_what_the_model_says_there() -> None:
    """As the model's own forward pass over the whole text, to FP32, the format of logits."""
    parts = decoder().parts
    prompt, tokens = PROMPTS[2], [5, 9, 30, 31]
    with torch.no_grad():
        logs = (
            parts.model(torch.tensor([prompt + tokens]))
            .logits[0]
            .log_softmax(-1)[len(prompt) - 1 : -1]
        )
    best = logs.topk(2).values
    for rows in (1, 3, 100):
        judged = force_text(parts, prompt, tokens, rows)
        assert judged.own.tolist() == logs.argmax(-1).tolist()
        np.testing.assert_allclose(judged.margin, best[:, 0] - best[:, 1], atol=1e-5)
        np.testing.assert_allclose(
            judged.gap,
            [float(best[k, 0] - logs[k, token]) for k, token in enumerate(tokens)],
            atol=1e-5,
        )


def test_a_design_that_errs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last layer says another token at one place of every adadecode text."""
    true = AdaDecoder.start

    def wrong(self: AdaDecoder, *args: Any, **options: Any) -> Any:
        decoding = true(self, *args, **options)
        if args[1].policy is Policy.ADADECODE:
            inner = decoding.perform

            def perform(work: Any) -> Any:
                outcome = inner(work)
                if (
                    type(outcome).__name__ == "Verdict"
                    and work.start <= args[0].shape[1] + 5 < work.stop + 1
                    and not decoding.__dict__.get("bent")
                ):
                    decoding.__dict__["bent"] = True
                    return outcome._replace(token=(outcome.token + 1) % 90)
                return outcome

            decoding.perform = perform
        return decoding

    monkeypatch.setattr(AdaDecoder, "start", wrong)
    _, row, other = flip_report(decoder(), PROMPTS, DESIGNS, 16)["designs"]
    assert row["equal_texts"] == 0
    assert row["flips"] == row["beyond"] == 3
    assert 1 <= row["first_divergence"]["output"] <= 12
    assert row["gaps"]["max"] > token_flips.TOLERANCES[torch.float64]
    assert sum(part["flips"] for part in row["by_margin"]) == 3
    assert other["flips"] == 0


def test_ties_go_to_the_lowest_token_and_are_a_class_of_their_own() -> None:
    logits = torch.zeros((3, 7))
    logits[1, 4] = 1.0
    logits[2, [2, 6]] = 3.0
    judged = token_flips._compare_rows(logits, [0, 3, 6])
    assert judged.own.tolist() == [0, 4, 2]
    assert judged.flipped.tolist() == [False, True, True]
    np.testing.assert_allclose(judged.gap, [0.0, 1.0, 0.0])
    counted = token_flips._counts([judged], torch.float32)
    assert (counted["by_margin"][0]["tokens"], counted["by_margin"][0]["flips"]) == (2, 1)
    assert (counted["flips"], counted["beyond"]) == (2, 1)


def test_the_tables_show_every_row() -> None:
    report = flip_report(decoder(), PROMPTS[:1], DESIGNS[:1], 4, batches=(2,))
    designs, margins = flip_tables(report)
    assert designs.row_count == len(margins.columns) - 2 == 3
    assert margins.row_count == len(EDGES) + 1


@pytest.mark.parametrize(
    ("prompts", "batches", "wanted"),
    [([], (), "at least one prompt"), (PROMPTS, (0,), "at least 1 row")],
)
def test_what_cannot_be_reported_is_refused(
    prompts: list[list[int]], batches: tuple[int, ...], wanted: str
) -> None:
    with pytest.raises(InputError, match=wanted):
        flip_report(decoder(), prompts, DESIGNS, 4, batches)


def test_the_command_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "--demo --limit 1 --domains arithmetic --max-new-tokens 6 --gammas 0.3 --placements "
        "4 --batches 2 --json"
    )
    monkeypatch.setattr(
        "sys.argv", ["adadecode-flips", *options.split(), "--out", str(tmp_path / "flips.json")]
    )
    with pytest.raises(SystemExit) as ended:
        flips_main()
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "flips.json").read_text())
    assert [row["design"] for row in printed["designs"]] == [
        "vanilla",
        "adadecode 4 gamma 0.3",
        "fixed 4 cap 3",
    ]
    assert printed["dtype"] == "bfloat16"
    assert math.isclose(printed["tolerance_nats"], 0.25)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "--demo"),
        ("--model m --heads identity:1", "--prompts"),
        ("--model m --heads= --prompts p", "wanted a text as --heads, got ''"),
        ("--demo --numerics exact", "native, canonical"),
        ("--demo --weights int3", "int8, int4"),
        ("--demo --threads 0", "--threads"),
        ("--demo --threads 100000", "--threads of at most"),
        ("--demo --batches 100000", "at most 64, got 100000"),
        ("--demo --gammas x", "--gammas as numbers"),
        ("--demo --out /no/such/report.json", "the directory /no/such does not exist"),
        ("--demo --model m", "not both"),
    ],
)
def test_bad_options_end_in_one_sentence(
    options: str, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["adadecode-flips", *options.split()])
    with pytest.raises(SystemExit) as ended:
        flips_main()
    assert ended.value.code == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.skipif(
    any(map(find_spec, ("torchao", "bitsandbytes"))),
    reason="a library for packed weights is installed here",
)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_without_a_library_packed_weights_are_refused_by_the_name_of_one(weights: str) -> None:
    with pytest.raises(InputError, match="torchao"):
        weight_config(weights)


@pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao")
def test_heads_fit_a_model_whose_weights_were_packed() -> None:
    from adadecode.engine.demo import MODEL
    from adadecode.engine.loading.model_loader import load_model

    model, _ = load_model(MODEL, "bfloat16", "cpu", weights="int8")
    made = AdaDecoder(model, ExitHeads.load(MODEL, model))
    assert isinstance(made.parts, SegmentedModel)
    assert made.parts.dtype == torch.bfloat16
    design = Design.of(Policy.ADADECODE, gamma=0.0, placement=(4, 8))
    _, row = flip_report(made, PROMPTS[:1], [design], 6)["designs"]
    assert (row["design"], row["beyond"]) == (design.label, 0)
    assert row["tokens"] > 0


def test_training_under_torchrun_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as ended:
        train_main()
    assert ended.value.code == 2
    assert "torchrun started 2" in capsys.readouterr().err
