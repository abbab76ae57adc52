"""Where a profile's latencies are from: its device, its model, its number format, and whether it holds all that a design needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.catalog.devices import Device, catalogue, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.precision import Precision


def device_of(profile: Profile, said: str | None = None) -> Device:
    """The device that a profile was recorded on, or is said to have been where it does not tell.

    Raises DeviceError where neither tells, or both do and differ.
    """
    told = _told(profile)
    by_title = {device.title.lower(): device for device in catalogue().values()}
    known = None
    if told in catalogue() or told.lower() in by_title:
        known = catalogue().get(told) or by_title[told.lower()]
    if said is not None:
        device = find_device(said)
        if known is not None and device != known:
            raise DeviceError(
                f"{profile.path} was recorded on {known.name}, not on {device.name}: leave --from out"
            )
        return device
    if known is not None:
        return known
    raise DeviceError(
        f"{profile.path} was recorded on {told or 'a machine'} that the catalogue does not know: say which device it was with --from, a name or FILE.toml"
    )


def machine_of(profile: Profile) -> str:
    """The device in the words of the catalogue, or of the profile where the catalogue does not know it."""
    try:
        return device_of(profile).name
    except DeviceError:
        host = (profile.manifest["hardware"].get("before") or {}).get("host", {}).get("cpu")
        return str(host or _told(profile) or "an unknown machine")


def _told(profile: Profile) -> str:
    """What the profile calls its device; empty where it calls it nothing."""
    hardware = profile.manifest["hardware"]
    return str(
        hardware.get("device") or (hardware.get("before") or {}).get("gpu", {}).get("name") or ""
    )


def shape_of(profile: Profile, said: str | None = None) -> ModelShape:
    """The shape of a profile's model, as it is said to be, as it was imported, by its config, or by its name.

    Raises ShapeError, also where what is said is another one's.
    """
    about = profile.manifest["model"]
    if said is None and about.get("shape"):
        return ModelShape(**about["shape"])
    shape = find_model(said) if said else find_model(about["config"] or str(about["name"]))
    parameters = about.get("n_parameters")
    if shape.n_layers != profile.n_layers or (
        said and parameters and abs(shape.total_parameters / parameters - 1) > 0.01
    ):
        raise ShapeError(
            f"{profile.path} is of {about['name']} ({profile.n_layers} layers, {parameters} parameters), "
            f"{shape.name} has {shape.n_layers} layers and {shape.total_parameters} parameters: name the model that was recorded"
        )
    return shape


def precision_of(profile: Profile) -> Precision:
    """The number format of a recording, packed weights as the manifest tells them; of a synthetic text, which no model spoke, BF16, as wherever nobody says.

    Raises DeviceError for one that is unknown.
    """
    dtype = "bf16" if is_synthetic(profile) else str(profile.manifest["dtype"])
    return Precision.of(str(profile.manifest.get("weights") or dtype), dtype)


def is_synthetic(profile: Profile) -> bool:
    """Whether its text was drawn (`adadecode.sim.synthetic.trace_generator`), not recorded."""
    return bool(profile.manifest.get("synthetic"))


def script_of(profile: Profile) -> str | None:
    """Whose decisions its runs followed (`adadecode.engine.decoding.scripted`), in words; None where the model decided for itself. Raises HeadsError."""
    about = profile.manifest.get("scripted")
    if not about:
        return None
    heads = ", ".join(f"{head} at {place}" for head, place in about["map"].items())
    said, timed = said_form_of(profile), form_of(profile)
    other = (
        ""
        if said == timed
        else f", {said.label} ones: those timed are {timed.label}, and would decide otherwise"
    )
    return f"scripted: decisions of {about['profile']} ({about['model']}, {about['n_layers']} layers), its heads {heads}{other}"


def sampling_of(profile: Profile) -> str | None:
    """How its texts were sampled, in words; None where they are greedy."""
    about = profile.manifest.get("sampling")
    if about is None:
        return None
    words = [
        f"{name} {about[key]:g}"
        for name, key in (("top-k", "top_k"), ("top-p", "top_p"))
        if about.get(key) is not None
    ]
    return ", ".join(
        [f"sampled at temperature {about['temperature']:g}", *words, f"seed {about['seed']}"]
    )


def form_of(profile: Profile) -> HeadForm:
    """The form of the heads that were timed. Raises HeadsError for one that this program does not know."""
    return _form(profile.manifest["heads"])


def said_form_of(profile: Profile) -> HeadForm:
    """The form of the heads whose answers the trace holds: of the recording's that was followed, where decisions are another's. Raises HeadsError."""
    return _form(profile.manifest.get("scripted") or profile.manifest["heads"])


def _form(about: Mapping[str, Any]) -> HeadForm:
    """What is told as ``form``; full where nothing is."""
    told = about.get("form") or {}
    return HeadForm(shortlist=told.get("shortlist"), dtype=told.get("dtype"))


def attends(profile: Profile) -> bool:
    """Whether the measured layers attend to their context; imported operator times do not."""
    return profile.manifest.get("attention") != "excluded"


def is_eager(profile: Profile) -> bool:
    """Whether the model was driven kernel by kernel from the host."""
    return profile.manifest.get("graphs") in ("eager", "static")
