"""Where the parts of a model go: one device, several devices, or processes that share it.

Several devices are filled by accelerate's device map; processes shard the model by its own tp_plan.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.runtime.distributed import is_sharded, processes
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, read_json

MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Device maps that accelerate works out."""


def loading_options(
    device: torch.device, device_map: str | None, *, packed: bool
) -> dict[str, Any]:
    """Return the options of ``from_pretrained`` that place the parts on devices.

    There are none where the model is moved after it is loaded.

    Args:
        device: The device of a model that is on one.
        device_map: A device map as `read_map` takes it; None for one device.
        packed: Whether weights are packed, which happens where they are to stay.

    Raises:
        InputError: The device map cannot be read.
    """
    if processes() > 1:
        from transformers.distributed import DistributedConfig

        return {"distributed_config": DistributedConfig(tp_plan="auto", tp_size=processes())}
    if device_map is not None:
        return {"device_map": read_map(device_map)}
    return {"device_map": {"": device}} if packed and device.type == "cuda" else {}


def read_map(named: str) -> str | dict[str, Any]:
    """Return a device map by its name.

    Args:
        named: One of `MAPS`, or a JSON file of modules and their devices.

    Raises:
        InputError: It is neither, or accelerate is not installed.
    """
    if find_spec("accelerate") is None:
        raise InputError(
            "a model is spread over devices by accelerate, which is not installed: pip install "
            "accelerate, or leave --device-map out"
        )
    if named in MAPS:
        return named
    if not is_there(named):
        raise InputError(
            f"wanted --device-map as one of {', '.join(MAPS)}, or a JSON file of modules and "
            f"devices, got {named!r}"
        )
    found = read_json(named)
    if not (
        isinstance(found, dict)
        and found
        and all(isinstance(where, str | int) for where in found.values())
    ):
        raise InputError(
            f'wanted {{"module": device, ...}} in {named}, like {{"model.layers.0": 0, "lm_head": '
            f'"cpu"}}'
        )
    return found


def check_device_map(model: PreTrainedModel, name: str) -> None:
    """Raise InputError where a model is not whole on devices that compute, or not shared.

    Accelerate leaves what does not fit on the CPU or the disk, and a model without a tp_plan is not
    shared by processes.
    """
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    if "disk" in places or ("cpu" in places and len(places) > 1):
        raise InputError(
            f"the GPUs do not hold {name} whole, and what is offloaded is no part of a recording: "
            "add GPUs, a 16-bit --dtype, or --weights int8"
        )
    if processes() > 1 and not any(is_sharded(weight) for weight in model.parameters()):
        raise InputError(
            f"{name} has no tp_plan by which {processes()} processes could share it: run one "
            "process, with --device-map auto"
        )


def describe_devices(model: PreTrainedModel) -> dict[str, Any]:
    """Return the manifest's entries on a model that is on several devices; none on others.

    It gives the processes, and the devices with how many modules are on each.
    """
    places = [str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()]
    found: dict[str, Any] = {}
    if processes() > 1:
        found["processes"] = processes()
    if len(set(places)) > 1:
        found["devices"] = {place: places.count(place) for place in sorted(set(places))}
    return {"placing": found} if found else {}
