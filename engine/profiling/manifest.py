"""The manifest of a recording: model, heads, machine, software, prompts and limits."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.loading import quantization
from adadecode.engine.loading.device_map import describe_devices
from adadecode.engine.loading.model_origin import limitations_of, origin_of
from adadecode.engine.model import few_rows
from adadecode.engine.model.measured_shape import measure_shape
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.stopped_texts import LIMITATION
from adadecode.engine.runtime.distributed import processes
from adadecode.engine.runtime.environment import describe_machine, describe_software
from adadecode.profiles.catalog.models import measured_record
from adadecode.profiles.manifest import DEMO_HEADS, DEMO_MODEL
from adadecode.profiles.prompt_digest import prompt_digest
from adadecode.profiles.schema import SCHEMA, SCHEMA_VERSION


def describe_recording(
    decoder: AdaDecoder,
    plan: RecordingPlan,
    *,
    name: str,
    started: dict[str, Any],
    has_energy: bool,
    latency_samples: int,
) -> dict[str, Any]:
    """Return the manifest of a recording, as far as the recorder itself knows it.

    Args:
        decoder: The model with its heads.
        plan: What is recorded.
        name: The name of the profile.
        started: The machine as it was when the recording began.
        has_energy: Whether the device tells how much energy it takes.
        latency_samples: The number of rows of the table ``latency``.
    """
    parts = decoder.parts
    packed, _ = quantization.describe_packing(parts.model)
    sampling = {} if plan.sampling is None else {"sampling": asdict(plan.sampling)}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": _describe_model(decoder, plan),
        "heads": {
            "name": plan.settings["heads"] or plan.settings["model"] or DEMO_HEADS,
            "depths": list(decoder.heads.depths),
            "metrics": decoder.heads.metrics,
            **({} if decoder.heads.gates is None else {"gates": True}),
        },
        "hardware": {
            "before": started,
            "after": describe_machine(parts.device),
            **describe_devices(parts.model),
        },
        "software": describe_software(),
        "dtype": str(parts.dtype).removeprefix("torch."),
        **packed,
        "numerics": decoder.numerics,
        "attention": "adadecode over preallocated buffers (scaled_dot_product_attention)",
        **_products(),
        "graphs": decoder.graphs,
        "graphs_bytes": parts.graphs_bytes,
        "timing": parts.timing,
        "seed": plan.seed,
        "prompts": _describe_prompts(plan),
        "settings": plan.settings,
        "limitations": limitations(decoder, plan, has_energy=has_energy),
        "eos_token_ids": sorted(decoder.eos),
        "max_new_tokens": plan.max_new_tokens,
        "latency_samples": latency_samples,
        **sampling,
    }


def _describe_model(decoder: AdaDecoder, plan: RecordingPlan) -> dict[str, Any]:
    parts, model = decoder.parts, decoder.parts.model
    name = plan.settings["model"] or DEMO_MODEL
    config = json.dumps(model.config.to_diff_dict(), default=str)
    return {
        "name": name,
        "revision": getattr(model.config, "_commit_hash", None),
        "class": type(model).__name__,
        "n_layers": parts.n_layers,
        "hidden_size": parts.hidden_size,
        "n_parameters": model.num_parameters(),
        "config": json.loads(config, parse_constant=str),
        **({"origin": origin} if (origin := origin_of(model)) else {}),
        "measured": _measured(decoder, name),
    }


def _products() -> dict[str, Any]:
    """Return what multiplied few rows, where that was chosen."""
    ways = few_rows.describe_ways()
    return {"products": ways} if ways else {}


def _measured(decoder: AdaDecoder, name: str) -> dict[str, Any] | None:
    """Return the measured shape of a model; None where measuring it fails, and nothing is lost."""
    try:
        return measured_record(measure_shape(decoder.parts, name))
    except Exception:  # noqa: BLE001 -- whatever it is, a recording is not lost for it
        return None


def _describe_prompts(plan: RecordingPlan) -> dict[str, Any]:
    texts = "\n".join(prompt.text for prompt in plan.prompts)
    about: dict[str, Any] = {
        "sha256": prompt_digest(texts),
        "count": len(plan.prompts),
        "domains": sorted({prompt.domain for prompt in plan.prompts}),
    }
    templates = sorted({prompt.template for prompt in plan.prompts if prompt.template is not None})
    if templates:
        about |= {"chat": True, "template_sha256": templates[0]}
    if system := plan.settings.get("system"):
        about["system_sha256"] = prompt_digest(system)
    return about


def limitations(decoder: AdaDecoder, plan: RecordingPlan, *, has_energy: bool) -> list[str]:
    """Return what a reader of the recording must know, a sentence each.

    Args:
        decoder: The model with its heads.
        plan: What is recorded.
        has_energy: Whether the device tells how much energy it takes.
    """
    parts = decoder.parts
    how = "greedy" if plan.sampling is None else "sampled"
    found = [
        f"{how} decoding, batch 1, {parts.dtype} on {parts.device.type}, {decoder.graphs}",
        *parts.fallbacks,
    ]
    if decoder.numerics != "native":
        found.append(
            f"{decoder.numerics} numerics: every pass has the shape of the largest, "
            "and costs as much"
        )
    _, packing = quantization.describe_packing(parts.model)
    found += [*packing, *limitations_of(parts.model)]
    if has_energy:
        found.append(
            "energy is read from a counter that NVML moves on in steps, "
            "so that of a short run is coarse"
        )
    if processes() > 1:
        found.append(
            f"{processes()} processes share the model; clocks and energy are the first one's"
        )
    if "stop_strings" in plan.settings:
        found.append(LIMITATION)
    if plan.sampling is None:
        found.append(
            "wrong branches are recorded where a recorded design went or drafts were likely; "
            "elsewhere they are modelled"
        )
    else:
        found.append(
            "wrong branches are recorded where drafts were likely; "
            "those that sampled runs went down are modelled"
        )
    return found
