"""Where a profile's figures are from: its device, its model, its number format, and how it was run.

`Provenance.of` reads all of this from a profile once. The object is then passed on, so that nothing
is looked up or checked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from adadecode.profiles.catalog.device_checks import CPU
from adadecode.profiles.catalog.devices import Device, catalogue, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.catalog.recorded import device_name, recorded_device, recorded_shape
from adadecode.profiles.errors import DeviceError, InputError, ShapeError
from adadecode.profiles.manifest import section
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.launch_regime import Regime, no_regime_on_cpu
from adadecode.sim.hardware.precision import Precision

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a profile's figures were measured on, and how. Build it with `of`.

    What a profile does not tell is None. The ``require_...`` methods return it, or raise with what
    to do, so that only those who need it must ask the user for it.

    Attributes:
        path: Directory of the profile, for messages.
        machine: The device in the words of the catalogue, or of the profile where the catalogue
            does not know it; with their number where several share the model.
        device: The device in the catalogue, or None.
        n_devices: How many such devices share every layer. Processes on one CPU are one device.
        shape: The shape of the model, or None.
        precision: The number format that the model ran in. Packed weights count; a synthetic text,
            which no model wrote, has BF16, like everything whose format is unknown. None where the
            profile names a format that this program does not know.
        timed_form: Form of the heads that were timed.
        trace_form: Form of the heads whose outputs the trace holds. It differs from ``timed_form``
            in a scripted recording, which followed the decisions of another one.
        on_cpu: Whether the model ran on a CPU.
        is_eager: Whether the host started the model kernel by kernel.
        regime: How kernels were started; None where no model ran. A CPU starts its own work.
        attends: Whether the measured layers attend to their context. Imported operator times do
            not.
        is_synthetic: Whether the text was drawn (`adadecode.sim.synthetic.trace_generator`).
        script: Whose decisions the runs followed, in words; None where the model decided.
        sampling: How the texts were sampled, in words; None where they are greedy.
        problems: Why the device, shape or precision is unknown, by its name.
    """

    path: Path
    machine: str
    device: Device | None
    n_devices: int
    shape: ModelShape | None
    precision: Precision | None
    timed_form: HeadForm
    trace_form: HeadForm
    on_cpu: bool
    is_eager: bool
    regime: Regime | None
    attends: bool
    is_synthetic: bool
    script: str | None
    sampling: str | None
    problems: Mapping[str, str] = field(repr=False, hash=False)

    @classmethod
    def of(
        cls, profile: Profile, source: str | Device | None = None, model: str | None = None
    ) -> Provenance:
        """Read a profile's provenance.

        Args:
            profile: The recording.
            source: The device it was recorded on, where it does not say: a name of the catalogue,
                ``FILE.toml``, or the device itself.
            model: The model it was recorded with, where it does not say: as `find_model` takes it.

        Raises:
            DeviceError: If ``source`` is unknown, or contradicts the profile.
            ShapeError: If ``model`` is unknown, or contradicts the profile.
            HeadsError: If the heads have a form that this program does not know.
        """
        manifest, problems = profile.manifest, dict[str, str]()
        recorded = recorded_device(manifest)
        device = recorded
        if source is not None:
            device = _source_device(profile, source, recorded)
        elif recorded is None:
            problems["device"] = (
                f"{profile.path} was recorded on {device_name(manifest) or 'a machine'} that the "
                "catalogue does not know: say which device it was with --from, a name or FILE.toml"
            )
        if model is None:
            shape = _optional("shape", lambda: _recorded_shape(profile), problems)
        else:
            shape = _named_shape(profile, model)
        on_cpu = _ran_on_cpu(manifest) or (device is not None and device.is_cpu)
        placing = section(manifest, "hardware", "placing")
        n_devices = 1 if on_cpu else int(placing.get("processes") or 1)
        machine = recorded.name if recorded is not None else _machine_name(profile)
        timed = _form(manifest["heads"])
        spoke = _form(manifest.get("scripted") or manifest["heads"])
        return cls(
            path=profile.path,
            machine=machine if n_devices == 1 else f"{n_devices} x {machine}",
            device=device,
            n_devices=n_devices,
            shape=shape,
            precision=_optional("precision", lambda: _precision(profile), problems),
            timed_form=timed,
            trace_form=spoke,
            on_cpu=on_cpu,
            is_eager=manifest.get("graphs") in ("eager", "static"),
            regime=_regime(manifest),
            attends=manifest.get("attention") != "excluded",
            is_synthetic=bool(manifest.get("synthetic")),
            script=_script(manifest.get("scripted"), spoke, timed),
            sampling=_sampling(manifest.get("sampling")),
            problems=problems,
        )

    def check_regime(self, regime: Regime | None) -> None:
        """Refuse a regime that latencies cannot be of on their own device.

        Raises:
            DeviceError: If a regime is wanted, and the latencies are assumed or of unknown origin;
                or if it is another one than a CPU's own.
        """
        if self.on_cpu and regime not in (None, Regime.EAGER):
            raise DeviceError(no_regime_on_cpu(self.machine, str(regime)))
        if regime is not None and self.regime is None:
            raise DeviceError(
                f"the latencies of {self.path} are of no launch regime: leave --regime out, or "
                "predict from a datasheet, as in adadecode-sim predict datasheet --to h100-sxm "
                f"--trace {self.path} --regime {regime}"
            )

    def require_device(self) -> Device:
        """Return the device. Raises DeviceError where it is unknown."""
        if self.device is None:
            raise DeviceError(self.problems["device"])
        return self.device

    def mismatch(self, target: Device) -> str | None:
        """Return why no time can be carried to a device; None where it can, or nobody knows.

        A CPU's times hold its own threads' time to start the work, at the efficiency of its own
        kernels. None of it is an accelerator's, nor the other way round.
        """
        unknown = self.device is None and not self.on_cpu
        same = self.device is not None and self.device.name == target.name
        if unknown or same or self.on_cpu == target.is_cpu:
            return None
        here = self.machine if self.device is None else self.device.name
        kinds = ("a CPU", "none") if self.on_cpu else ("no CPU", "one")
        hint = (
            ' (if it is one, its file has to say architecture = "cpu")'
            if self.on_cpu and target.architecture == "other" and target.name not in catalogue()
            else ""
        )
        return (
            f"{here} is {kinds[0]} and {target.name} is {kinds[1]}{hint}: the times of one tell "
            "nothing of the other's"
        )

    def is_of_several(self, device: Device) -> bool:
        """Whether several of a device shared the work, which was measured on it."""
        return self.n_devices > 1 and self.device is not None and self.device.name == device.name

    def together(self, device: Device) -> Device:
        """Return a device with the power limit of as many of it as shared the work."""
        watts = device.tdp_watts
        return replace(device, tdp_watts=None if watts is None else self.n_devices * watts)

    def check_alone(self) -> None:
        """Raise DeviceError where several devices shared the work.

        What they exchange takes another time over other links, in another number or format, and
        nobody measured which part of the latencies it is.
        """
        if self.n_devices > 1:
            raise DeviceError(
                f"the latencies of {self.path} are of {self.machine}, which share every layer: "
                "nothing is carried from there, because what devices exchange elsewhere is not "
                "known; predict as it was measured, or take the latencies of a single device"
            )

    def check_carries_to(self, target: Device) -> None:
        """Raise DeviceError where no time can be carried to a device."""
        if why := self.mismatch(target):
            raise DeviceError(
                f"{why}; take its datasheet, as in adadecode-sim predict datasheet --to "
                f"{target.name} --trace {self.path}"
            )

    def require_shape(self) -> ModelShape:
        """Return the shape of the model. Raises ShapeError where it is unknown."""
        if self.shape is None:
            raise ShapeError(self.problems["shape"])
        return self.shape

    def require_precision(self) -> Precision:
        """Return the number format. Raises DeviceError where it is unknown."""
        if self.precision is None:
            raise DeviceError(self.problems["precision"])
        return self.precision


def _optional(name: str, find: Callable[[], _Found], problems: dict[str, str]) -> _Found | None:
    """Return what is found, or None with the reason noted under ``name``."""
    try:
        return find()
    except InputError as error:
        problems[name] = str(error)
        return None


def _machine_name(profile: Profile) -> str:
    """Return the name of a machine that is not in the catalogue: its processor, or its device."""
    host = section(profile.manifest, "hardware", "before", "host").get("cpu")
    return str(host or device_name(profile.manifest) or "an unknown machine")


def _ran_on_cpu(manifest: Mapping[str, Any]) -> bool:
    hardware = section(manifest, "hardware")
    return "cpu" in (hardware.get("device"), section(hardware, "before").get("device"))


def _regime(manifest: Mapping[str, Any]) -> Regime | None:
    """Return the regime that a profile was recorded or imported in; None for an assumed one."""
    found = _REGIMES.get(str(manifest.get("graphs")))
    return Regime.EAGER if found is not None and _ran_on_cpu(manifest) else found


_REGIMES = {
    **dict.fromkeys(("eager", "static", "compile"), Regime.EAGER),
    **dict.fromkeys(("cuda", "cuda+compile"), Regime.GRAPHS),
    "kernels alone": Regime.ENGINE,
}
"""Regimes by what a manifest calls its graphs."""


def _source_device(profile: Profile, source: str | Device, recorded: Device | None) -> Device:
    device = source if isinstance(source, Device) else find_device(source)
    if _ran_on_cpu(profile.manifest):
        if device.architecture not in (CPU, "other"):
            raise DeviceError(
                f"{profile.path} was recorded on a CPU, and {device.name} is none: name the file "
                "of that CPU, which adadecode-device writes"
            )
        device = replace(device, architecture=CPU)
    if recorded is not None and device != recorded:
        raise DeviceError(
            f"{profile.path} was recorded on {recorded.name}, not on {device.name}: "
            "leave --from out"
        )
    return device


def _recorded_shape(profile: Profile) -> ModelShape:
    """Return the shape as it was imported, or by the config or the name of the model."""
    return _checked_shape(profile, recorded_shape(profile.manifest), parameters=None)


def _named_shape(profile: Profile, model: str) -> ModelShape:
    parameters = profile.manifest["model"].get("n_parameters")
    return _checked_shape(profile, find_model(model), parameters)


def _checked_shape(profile: Profile, shape: ModelShape, parameters: int | None) -> ModelShape:
    """Return the shape once its layers, and its parameters where given, are the recorded ones."""
    about = profile.manifest["model"]
    if shape.n_layers != profile.n_layers or (
        parameters and abs(shape.total_parameters / parameters - 1) > 0.01
    ):
        raise ShapeError(
            f"{profile.path} is of {about['name']} ({profile.n_layers} layers, "
            f"{about.get('n_parameters', 'unknown')} parameters), {shape.name} has "
            f"{shape.n_layers} layers and {shape.total_parameters} parameters: "
            "name the model that was recorded"
        )
    return shape


def _precision(profile: Profile) -> Precision:
    manifest = profile.manifest
    dtype = "bf16" if manifest.get("synthetic") else str(manifest["dtype"])
    cache = section(manifest, "settings").get("kv_dtype")
    return Precision.of(
        str(manifest.get("weights") or dtype), dtype, None if cache is None else str(cache)
    )


def _form(about: Mapping[str, Any]) -> HeadForm:
    """Return the form of some heads; full where the manifest holds none."""
    form = section(about, "form")
    return HeadForm(
        shortlist=form.get("shortlist"), dtype=form.get("dtype"), prompt=bool(form.get("prompt"))
    )


def _script(about: Mapping[str, Any] | None, spoke: HeadForm, timed: HeadForm) -> str | None:
    if not about:
        return None
    heads = ", ".join(f"{head} at {depth}" for head, depth in about["map"].items())
    other = ""
    if spoke != timed:
        other = f", {spoke.label} ones: those timed are {timed.label}, and would decide otherwise"
    return (
        f"scripted: decisions of {about['profile']} ({about['model']}, {about['n_layers']} layers),"
        f" its heads {heads}{other}"
    )


def _sampling(about: Mapping[str, Any] | None) -> str | None:
    if about is None:
        return None
    limits = [
        f"{name} {about[key]:g}"
        for name, key in (("top-k", "top_k"), ("top-p", "top_p"))
        if about.get(key) is not None
    ]
    seed = [] if about.get("seed") is None else [f"seed {about['seed']}"]
    return ", ".join([f"sampled at temperature {about['temperature']:g}", *limits, *seed])
