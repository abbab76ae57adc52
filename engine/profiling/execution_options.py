"""Options of ``adadecode-profile`` that say how a model is held and computed: which go with which, and which would take less memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adadecode.engine.heads.exit_heads import CONFIG, ExitHeads
from adadecode.engine.loading.device_map import read_map
from adadecode.engine.loading.memory_check import NO_EXITS, Exits
from adadecode.engine.loading.model_loader import find_dtype
from adadecode.engine.loading.quantization import check_weights, weight_config
from adadecode.engine.model.canonical import NUMERICS
from adadecode.engine.model.cuda_graphs import GRAPHS, check_captures, roomy
from adadecode.engine.profiling.options import wanted_form
from adadecode.engine.runtime.distributed import LAUNCH, processes
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.errors import InputError
from adadecode.sim.core.head_form import FULL, HeadForm

AUTO = "auto"
"""As --graphs: CUDA graphs where one process runs a model in native numerics on one CUDA device, eager elsewhere."""


def graphs_of(chosen: dict[str, Any]) -> tuple[str, str]:
    """How layers are run where --graphs is auto, and why. Raises InputError for an unknown device."""
    if torch_device(chosen["device"]).type != "cuda":
        return "eager", "there is no CUDA device to use"
    if processes() > 1:
        return "eager", f"{processes()} processes share the model"
    if chosen["device_map"] is not None:
        return "eager", "a device map spreads the model"
    if chosen["numerics"] != "native":
        return "eager", f"{chosen['numerics']} numerics have shapes of their own"
    return "cuda", "all is on one CUDA device"


def room_for(graphs: str, positions: int) -> int:
    """How many positions there is room for where so many are needed, as far as the model has as many."""
    return roomy(positions) if graphs.startswith("cuda") else positions


def exits_of(name: str, chosen: dict[str, Any]) -> Exits:
    """What the heads of a folder will be, by its description alone; of one that tells nothing, nothing: loading says what is wrong. Raises HeadsError."""
    if name.startswith("identity:"):
        return Exits(form=wanted_form(FULL, chosen))
    try:
        about = json.loads((Path(name) / CONFIG).read_text(encoding="utf-8"))
        matrices, own = (
            len(set(about["depths"]) - set(about["identity"])),
            HeadForm(**about.get("form", {})),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return NO_EXITS
    return Exits(matrices=matrices, form=wanted_form(own, chosen))


def check_model(chosen: dict[str, Any]) -> None:
    """Raises InputError where an option names nothing known, or does not go with another one."""
    check_running(chosen["numerics"], chosen["graphs"], chosen["device"])
    check_weights(chosen["weights"])
    if chosen["weights"] is not None and chosen["shape"]:
        raise InputError(
            "--weights packs a checkpoint as it is loaded, a --shape is made of random weights: choose its --dtype instead"
        )
    if chosen["device_map"] is not None:
        _check_map(chosen)
    if processes() > 1:
        _check_shared(chosen)


def check_running(numerics: str, graphs: str, device: str) -> None:
    """Raises InputError where layers cannot be run so, or not on this device."""
    if numerics not in NUMERICS:
        raise InputError(f"wanted --numerics as one of {', '.join(NUMERICS)}, got {numerics!r}")
    if graphs not in GRAPHS:
        raise InputError(f"wanted --graphs as one of {', '.join((AUTO, *GRAPHS))}, got {graphs!r}")
    if numerics == "canonical" and graphs != "eager":
        raise InputError(
            f"--numerics canonical has static shapes of its own and runs eagerly, got --graphs {graphs}: leave one of them out"
        )
    check_captures(graphs, torch_device(device))


def _check_map(chosen: dict[str, Any]) -> None:
    if not chosen["model"]:
        raise InputError(
            "--device-map spreads a --model: the bundled model and a --shape are on one device"
        )
    if chosen["device"] != "auto":
        raise InputError(
            f"--device-map chooses the devices, got --device {chosen['device']} too: leave one of them out"
        )
    read_map(chosen["device_map"])


def _check_shared(chosen: dict[str, Any]) -> None:
    """What processes that share a model cannot do: where they decide by their own clock or compiler, they part."""
    wrong = {
        "--device-map": chosen["device_map"] is not None,
        "--weights": chosen["weights"] is not None,
        "--baselines": chosen["baselines"] is not None,
        "--scripted": chosen["scripted"] is not None,
        f"--graphs {chosen['graphs']}": chosen["graphs"] not in ("eager", "static"),
    }
    if found := [option for option, is_wrong in wrong.items() if is_wrong]:
        raise InputError(
            f"{processes()} processes share the model ({LAUNCH}), and do not go with {', '.join(found)}: leave that out, or run one process"
        )


def check_shared_heads(heads: ExitHeads) -> None:
    """Raises InputError where processes share a model and its heads have another form than the full one, whose rows they would each gather."""
    if processes() > 1 and not heads.form.is_full:
        raise InputError(
            f"{processes()} processes share the model, and heads of the form {heads.form.label} do not go with that: take full ones"
        )


def smaller_settings(chosen: dict[str, Any]) -> str:
    """Settings that take less memory than these, in words."""
    ways = [
        *(["--graphs eager"] if chosen["graphs"] not in ("eager", "static") else []),
        *(["--dtype bfloat16"] if chosen["dtype"] in ("float32", "float64") else []),
        *(["--weights int8"] if _packable(chosen) else []),
        *(["fewer --layers"] if chosen["shape"] else []),
        *(["fewer --baselines"] if chosen["baselines"] is not None else []),
    ]
    return " or ".join(["fewer --max-new-tokens", *ways])


def _packable(chosen: dict[str, Any]) -> bool:
    """Whether int8 weights are still to be had: of a checkpoint that one process runs, from a library that is here."""
    if chosen["weights"] is not None or chosen["shape"] or processes() > 1:
        return False
    try:
        device = torch_device(chosen["device"])
        weight_config("int8", device.type, find_dtype(chosen["dtype"], device))
    except (InputError, ImportError):
        return False
    return True
