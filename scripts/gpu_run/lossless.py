"""Stages that compare texts with the model's own.

``lossless`` does so under every design, and ``flips`` counts how often another batch flips a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.gpu_run.state import GpuRun, StageFailure

PROMPTS, TOKENS = 1, 48
"""Prompts of each of the demo model's domains, and new tokens of each."""
DRY_PROMPTS, DRY_TOKENS = 2, 6
"""All prompts of a dry run, and new tokens of each."""
BATCHES = (2, 4, 6)
"""Rows of the additional teacher-forced passes of the stage ``flips``."""


def lossless(run: GpuRun) -> dict[str, Any]:
    """Compare the demo model's greedy text in FP32 with the text of every design, captured.

    Each difference is listed with its gap. Nothing is compiled, because that takes minutes.

    Raises:
        StageFailure: If a text differs at all, or if something was not captured, so that the stage
            did not test what it is for.
    """
    report = _flip_report(run, "float32", _captured(run), "native")
    if errors := find_losses("float32", report):
        raise StageFailure("; ".join(errors), report)
    return report


def flips(run: GpuRun) -> dict[str, Any]:
    """Count flipped tokens in BF16: native and canonical eagerly, and native captured.

    The eager passes have larger batches too.

    Raises:
        StageFailure: If canonical numerics have a flip, or a token of native numerics lies further
            below the model's own than rounding explains.
    """
    reports = {
        numerics: _flip_report(run, "bfloat16", "eager", numerics, BATCHES)
        for numerics in ("native", "canonical")
    }
    reports["captured"] = _flip_report(run, "bfloat16", _captured(run), "native")
    errors = find_losses("bfloat16", reports["native"])
    errors += find_losses("bfloat16", reports["captured"])
    rows = [*reports["canonical"]["designs"], *reports["canonical"]["batches"]]
    if flipped := sum(row["flips"] for row in rows):
        errors.append(f"canonical: {flipped} tokens are not vanilla's own")
    if errors:
        raise StageFailure("; ".join(errors), reports)
    return reports


def find_losses(dtype: str, report: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a report, a sentence each.

    That is work that was not captured as it should be, FP32 texts that differ, and tokens beyond
    the tolerance.
    """
    errors = [f"{dtype}: {fallback}" for fallback in report["fallbacks"]]
    if dtype == "float32":
        if (equal := report["equal_to_generate"]) != (count := report["prompts"]):
            errors.append(f"float32: vanilla wrote generate's text on {equal} of {count} prompts")
        errors += [
            f"float32: {row['design']} wrote vanilla's text on {row['equal_texts']} "
            f"of {row['texts']} prompts"
            for row in report["designs"]
            if row["equal_texts"] != row["texts"]
        ]
    errors += [
        f"{dtype}: {row['design']} has {row['beyond']} tokens "
        f"beyond {report['tolerance_nats']} nats"
        for row in report["designs"]
        if row["beyond"]
    ]
    return errors


def _captured(run: GpuRun) -> str:
    return "cuda" if run.device == "cuda" else "static"


def _flip_report(
    run: GpuRun, dtype: str, graphs: str, numerics: str, batches: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the flip report of the demo model (`adadecode.engine.evaluation.token_flips`).

    It also counts on how many prompts vanilla writes the text of ``generate``.
    """
    import torch

    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.engine.demo import load_demo
    from adadecode.engine.evaluation.token_flips import flip_report
    from adadecode.engine.loading.prompts import encode
    from adadecode.sim.core.design import Design

    tokens = DRY_TOKENS if run.dry else TOKENS
    demo = load_demo(dtype=dtype, device=run.device)
    prompts = [prompt for domain in demo.prompts for prompt in demo.of(domain)[:PROMPTS]]
    ids = [encode(demo.tokenizer, prompt) for prompt in prompts[: DRY_PROMPTS if run.dry else None]]
    decoder = AdaDecoder(demo.model, demo.heads, graphs=graphs, numerics=numerics)
    designs = [
        *(Design.of("adadecode", gamma=gamma, placement=(4, 8, 12)) for gamma in (0.5, 0.9)),
        Design.of("fixed", placement=(4,)),
    ]
    report = flip_report(decoder, [row[0].tolist() for row in ids], designs, tokens, batches)
    equal = 0
    for row in ids:
        own = demo.model.generate(
            row.to(demo.model.device), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )[0, row.shape[1] :]
        equal += decoder.generate(row, tokens, policy="vanilla").tokens == own.tolist()
    found = {
        "graphs": graphs,
        "fallbacks": decoder.parts.fallbacks,
        "equal_to_generate": equal,
        **report,
    }
    del demo, decoder
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found
