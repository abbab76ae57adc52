"""What a manifest holds on where its numbers come from, in words.

Model, heads, machine, software, text and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from adadecode.profiles.manifest import section
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.measurements.head_coverage import coverage_of, coverage_words
from adadecode.sim.report import formatting
from adadecode.sim.report.formatting import sentence

UNRECORDED = "not recorded"
"""Stands for a fact that the manifest does not hold."""

_ABSENT = {"None", ""}
"""How manifests write a value that there is none of, such as the version of CUDA on a CPU."""


def machine(manifest: Mapping[str, Any]) -> str:
    """Return the device; for a CPU its model and its threads: ``AMD EPYC (1 thread)``."""
    hardware = section(manifest, "hardware")
    before = section(hardware, "before") if "before" in hardware else hardware
    gpu, host = section(before, "gpu"), section(before, "host")
    if gpu.get("name"):
        return str(gpu["name"])
    device = str(before.get("device", "an unnamed machine"))
    if device != "cpu" or not host.get("cpu"):
        return device
    threads = before.get("threads")
    if not isinstance(threads, int):
        return str(host["cpu"])
    return f"{host['cpu']} ({formatting.plural(threads, 'thread')})"


def model(manifest: Mapping[str, Any]) -> str:
    """Return the model's name, its parameters and its layers."""
    about = manifest["model"]
    parameters = about.get("n_parameters")
    size = (
        f"{formatting.scaled(float(parameters), '')}parameters, ".replace(" M", " M ")
        if isinstance(parameters, int)
        else ""
    )
    return f"{about.get('name', 'a model without a name')} ({size}{about['n_layers']} layers)"


def moment(recorded: object) -> str:
    """Write a time of ISO 8601 to the minute, in UTC: ``2026-11-21 09:57 UTC``.

    Text that is no such time stays as it is; None is "not recorded".
    """
    if recorded is None:
        return UNRECORDED
    try:
        time = datetime.fromisoformat(str(recorded))
    except ValueError:
        return str(recorded)
    return f"{time.astimezone(UTC) if time.tzinfo else time:%Y-%m-%d %H:%M} UTC"


def named_values(values: object) -> str:
    """Join the names of a mapping with their values, ``torch 2.13.0, numpy 2.4.6``.

    Names without a value are left out; "not recorded" if nothing is left.
    """
    pairs = [
        f"{name} {value}" for name, value in section(values).items() if str(value) not in _ABSENT
    ]
    return ", ".join(pairs) or UNRECORDED


def provenance(profile: Profile) -> dict[str, str]:
    """Return what was recorded and with what: all that one needs to record it again."""
    manifest, origin = profile.manifest, Provenance.of(profile)
    about, heads = section(manifest, "model"), section(manifest, "heads")
    settings = {
        name: value
        for name, value in section(manifest, "settings").items()
        if not isinstance(value, list | dict)
    }
    depths = formatting.listed(profile.depths, 40) or "no depth"
    return {
        "profile": profile.name,
        "recorded": moment(manifest.get("created")),
        "model": model(manifest),
        "model class, revision": ", ".join(
            [about.get("class") or "class not recorded", about.get("revision") or "no revision"]
        ),
        "exit heads": f"{heads.get('name', 'heads')} at {depths}",
        "form of the heads": _head_form(profile, origin.timed_form),
        "machine": machine(manifest),
        "software": named_values(manifest["software"]),
        "decisions": origin.script or "the model's own",
        "decoding": origin.sampling or "greedy",
        "number format": _number_format(manifest),
        "attention": str(manifest.get("attention", UNRECORDED)),
        "graphs": str(manifest.get("graphs", UNRECORDED)),
        "prompts": _prompts(profile),
        "most new tokens": str(manifest["max_new_tokens"]),
        "seed": str(manifest["seed"]),
        "digest": str(manifest.get("digest", UNRECORDED)),
        "settings": named_values(settings),
    }


def limitations(profile: Profile) -> list[str]:
    """Return the limitations that the manifest states, as sentences."""
    stated = profile.manifest["limitations"]
    return [sentence(str(one)) for one in (stated if isinstance(stated, list) else [stated])]


def _number_format(manifest: Mapping[str, Any]) -> str:
    weights = manifest.get("weights")
    return f"{manifest['dtype']}{f', {weights} weights' if weights else ''}"


def _prompts(profile: Profile) -> str:
    """Return how many prompts there are, of which domains, how they were made, and their digest."""
    prompts = section(profile.manifest, "prompts")
    domains = [str(domain) for domain in prompts.get("domains") or () if domain is not None]
    template = prompts.get("template_sha256")
    count = formatting.plural(int(prompts.get("count", len(profile.prompts))), "prompt")
    kinds = f" of {formatting.listed(domains, 12)}" if domains else ", without domains"
    by = f" by the chat template {str(template)[:12]}" if template else ""
    return f"{count}{kinds}{by}; SHA-256 {prompts.get('sha256') or UNRECORDED}"


def _head_form(profile: Profile, form: HeadForm) -> str:
    """Return the form of the heads that ran, and what of the text it leaves out, if measured."""
    coverage = coverage_of(profile)
    product = section(profile.manifest, "heads", "form").get("product")
    label = f"{form.label}{f' (product {product})' if product else ''}"
    return label if coverage is None else f"{label}; {coverage_words(coverage, form)}"
