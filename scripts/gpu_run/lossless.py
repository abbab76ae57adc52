"""Stages that hold texts against the model's own: losslessness under every design, and how often another batch flips a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.gpu_run.state import GpuRun, StageFailure

PROMPTS, TOKENS = 1, 48
"""Of each of the demo model's domains; new tokens of each."""
DRY_TOKENS = 6
BATCHES = (2, 4, 6)
"""Rows of the passes in which texts are teacher-forced besides."""


def lossless(visit: GpuRun) -> dict[str, Any]:
    """The demo model's own greedy text in FP32 against every design, captured, each difference with its gap. Nothing is compiled, which would take minutes.

    Raises StageFailure where a text differs at all, or where something was not captured, so that it was not what this is about.
    """
    told = _report(visit, "float32", _captured(visit), "native")
    if wrong := losses("float32", told):
        raise StageFailure("; ".join(wrong), told)
    return told


def flips(visit: GpuRun) -> dict[str, Any]:
    """BF16 in both numerics, eagerly, designs and larger batches too, and native captured: native counts its flips, canonical may have none.

    Raises StageFailure where canonical has one, or a token of native lies further below the model's own than rounding explains.
    """
    told = {
        numerics: _report(visit, "bfloat16", "eager", numerics, BATCHES)
        for numerics in ("native", "canonical")
    }
    told["captured"] = _report(visit, "bfloat16", _captured(visit), "native")
    rows = [*told["canonical"]["designs"], *told["canonical"]["batches"]]
    wrong = losses("bfloat16", told["native"]) + losses("bfloat16", told["captured"])
    if flipped := sum(row["flips"] for row in rows):
        wrong.append(f"canonical: {flipped} tokens are not vanilla's own")
    if wrong:
        raise StageFailure("; ".join(wrong), told)
    return told


def _captured(visit: GpuRun) -> str:
    return "cuda" if visit.device == "cuda" else "static"


def _report(
    visit: GpuRun, dtype: str, graphs: str, numerics: str, batches: Sequence[int] = ()
) -> dict[str, Any]:
    """The flip report of the demo model (`adadecode.engine.evaluation.token_flips`), and how many of vanilla's texts are those of ``generate``."""
    import torch

    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.engine.demo import load_demo
    from adadecode.engine.evaluation.token_flips import flip_report
    from adadecode.engine.loading.prompts import encode
    from adadecode.sim.core.design import Design

    tokens = DRY_TOKENS if visit.dry else TOKENS
    model = load_demo(dtype=dtype, device=visit.device)
    chosen = [prompt for domain in model.prompts for prompt in model.of(domain)[:PROMPTS]][
        : 2 if visit.dry else None
    ]
    ids = [encode(model.tokenizer, prompt) for prompt in chosen]
    decoder = AdaDecoder(model.model, model.heads, graphs=graphs, numerics=numerics)
    designs = [
        Design.of("adadecode", gamma=gamma, placement=(4, 8, 12)) for gamma in (0.5, 0.9)
    ] + [Design.of("fixed", placement=(4,))]
    report = flip_report(decoder, [one[0].tolist() for one in ids], designs, tokens, batches)
    equal = 0
    for one in ids:
        own = model.model.generate(
            one.to(model.model.device), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )[0, one.shape[1] :]
        equal += decoder.generate(one, tokens, policy="vanilla").tokens == own.tolist()
    told = {
        "graphs": graphs,
        "fallbacks": decoder.parts.fallbacks,
        "equal_to_generate": equal,
        **report,
    }
    del model, decoder
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return told


def losses(dtype: str, told: Mapping[str, Any]) -> list[str]:
    """What is wrong with one dtype: work that was not done as asked for, FP32 texts that differ, tokens beyond the tolerance."""
    wrong = [f"{dtype}: {why}" for why in told["fallbacks"]]
    if dtype == "float32":
        if (equal := told["equal_to_generate"]) != (count := told["prompts"]):
            wrong.append(f"float32: vanilla wrote generate's text on {equal} of {count} prompts")
        unlike = [row for row in told["designs"] if row["equal_texts"] != row["texts"]]
        wrong += [
            f"float32: {row['design']} wrote vanilla's text on {row['equal_texts']} of {row['texts']} prompts"
            for row in unlike
        ]
    beyond = [row for row in told["designs"] if row["beyond"]]
    return wrong + [
        f"{dtype}: {row['design']} has {row['beyond']} tokens beyond {told['tolerance_nats']} nats"
        for row in beyond
    ]
