"""What a manifest says of where its numbers come from, in words: model, heads, machine, software, text, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.store import Profile
from adadecode.sim.hardware.provenance import form_of, sampling_of, script_of
from adadecode.sim.measurements.head_coverage import coverage_of, coverage_words
from adadecode.sim.report import formatting


def machine(manifest: Mapping[str, Any]) -> str:
    """The device; of a CPU which one, and how many threads: ``AMD EPYC (1 thread)``."""
    hardware = _mapping(manifest.get("hardware"))
    before = _mapping(hardware.get("before", hardware))
    gpu, host = _mapping(before.get("gpu")), _mapping(before.get("host"))
    if gpu.get("name"):
        return str(gpu["name"])
    device = str(before.get("device", "an unnamed machine"))
    if device != "cpu" or not host.get("cpu"):
        return device
    threads = before.get("threads")
    return (
        f"{host['cpu']} ({formatting.plural(threads, 'thread')})"
        if isinstance(threads, int)
        else str(host["cpu"])
    )


def model(manifest: Mapping[str, Any]) -> str:
    """The model's name, its parameters and layers."""
    about = manifest["model"]
    parameters = about.get("n_parameters")
    size = (
        f"{formatting.scaled(float(parameters), '')}parameters, ".replace(" M", " M ")
        if isinstance(parameters, int)
        else ""
    )
    return f"{about.get('name', 'a model without a name')} ({size}{about['n_layers']} layers)"


def provenance(profile: Profile) -> dict[str, str]:
    """Everything that one needs to know, or to record it again."""
    manifest = profile.manifest
    prompts, settings = _mapping(manifest["prompts"]), _mapping(manifest["settings"])
    facts = {
        "profile": profile.name,
        "recorded": str(manifest.get("created", "not said")),
        "model": model(manifest),
        "model class, revision": f"{_mapping(manifest['model']).get('class', 'not said')}, {_mapping(manifest['model']).get('revision') or 'no revision'}",
        "exit heads": f"{_mapping(manifest['heads']).get('name', 'heads')} at {formatting.listed(profile.depths, 40) or 'no depth'}",
        "form of the heads": _form(profile),
        "machine": machine(manifest),
        "software": ", ".join(
            f"{name} {version}" for name, version in _mapping(manifest["software"]).items()
        )
        or "not said",
        "decisions": script_of(profile) or "the model's own",
        "decoding": sampling_of(profile) or "greedy",
        "number format": f"{manifest['dtype']}{f', {packed} weights' if (packed := manifest.get('weights')) else ''}",
        "attention": str(manifest.get("attention", "not said")),
        "graphs": str(manifest.get("graphs", "not said")),
        "prompts": f"{prompts.get('count', len(profile.prompts))} of {formatting.listed(prompts.get('domains') or ['no domain'], 12)}; SHA-256 {prompts.get('sha256', 'not said')}",
        "most new tokens": str(manifest["max_new_tokens"]),
        "seed": str(manifest["seed"]),
        "digest": str(manifest.get("digest", "not said")),
    }
    shown = {
        name: value
        for name, value in settings.items()
        if value is not None and not isinstance(value, list | dict)
    }
    facts["settings"] = ", ".join(f"{name} {value}" for name, value in shown.items()) or "none"
    return facts


def limitations(profile: Profile) -> list[str]:
    """What the manifest says must not be forgotten."""
    said = profile.manifest["limitations"]
    return [sentence(str(one)) for one in said] if isinstance(said, list) else [sentence(str(said))]


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _form(profile: Profile) -> str:
    """The form of the heads that ran, what multiplies where it is int8, and what of the text it leaves out, where that was measured."""
    form, covered = form_of(profile), coverage_of(profile)
    product = _mapping(_mapping(profile.manifest["heads"]).get("form")).get("product")
    told = f"{form.label}{f' (product {product})' if product else ''}"
    return told if covered is None else f"{told}; {coverage_words(covered, form)}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
