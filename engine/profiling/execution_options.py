"""How a model is held and run: which options go together, and which would take less memory."""

from __future__ import annotations

from pathlib import Path

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.heads_description import read_description
from adadecode.engine.loading.device_map import read_map
from adadecode.engine.loading.memory_check import NO_HEADS, HeadsToLoad
from adadecode.engine.loading.model_loader import find_dtype
from adadecode.engine.loading.quantization import weight_config
from adadecode.engine.model.cuda_graphs import check_captures, room_size
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.runtime.choices import Dtype, GraphMode, Numerics
from adadecode.engine.runtime.distributed import LAUNCH, processes
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.sim.core.head_form import FULL


def choose_graphs(device_type: str, numerics: Numerics, *, spread: bool) -> tuple[GraphMode, str]:
    """Return how layers are run where --graphs is auto, and why.

    Args:
        device_type: The type of the model's device, such as ``cuda``.
        numerics: How the model computes.
        spread: Whether the model is spread over several devices.
    """
    if device_type != "cuda":
        return GraphMode.EAGER, "there is no CUDA device to use"
    if processes() > 1:
        return GraphMode.EAGER, f"{processes()} processes share the model"
    if spread:
        return GraphMode.EAGER, "a device map spreads the model"
    if numerics != Numerics.NATIVE:
        return GraphMode.EAGER, f"{numerics} numerics have shapes of their own"
    return GraphMode.CUDA, "all is on one CUDA device"


def room_for(graphs: GraphMode | str, positions: int) -> int:
    """Return for how many positions there is room where this many are needed.

    Captured graphs round up, as far as the model has as many positions.
    """
    return room_size(positions) if graphs.startswith("cuda") else positions


def exits_of(name: str, options: RecordingOptions) -> HeadsToLoad:
    """Return what the heads of a folder will need, read from its description alone.

    A folder without a readable description needs nothing here: loading it explains what is wrong.

    Args:
        name: The folder, or ``identity:DEPTHS``.
        options: Name the form that the heads are given.

    Raises:
        HeadsError: No heads can have this form.
    """
    if name.startswith("identity:"):
        return HeadsToLoad(form=options.head_form(FULL))
    try:
        about = read_description(Path(name), quiet=True)
    except HeadsError:
        return NO_HEADS
    n_matrices = len(set(about.depths) - about.identity)
    return HeadsToLoad(matrices=n_matrices, form=options.head_form(about.form))


def check_execution(request: RecordingRequest) -> None:
    """Check that the model can be held and run with these options.

    Raises:
        InputError: An option names nothing known, or does not go with another one.
    """
    source, options = request.source, request.options
    find_dtype(source.dtype, torch_device(source.device))
    check_running(options.numerics, options.graphs, source.device)
    if source.weights is not None and source.shape:
        raise InputError(
            "--weights packs a checkpoint as it is loaded, a --shape is made of random weights: "
            "choose its --dtype instead"
        )
    if source.device_map is not None:
        _check_map(source)
    if processes() > 1:
        _check_shared(source, options)


def check_running(numerics: Numerics, graphs: GraphMode, device: str) -> None:
    """Check that layers can be run in this way on this device.

    Raises:
        InputError: They cannot.
    """
    if numerics == Numerics.CANONICAL and graphs not in (GraphMode.EAGER, GraphMode.AUTO):
        raise InputError(
            "--numerics canonical has static shapes of its own and runs eagerly, "
            f"got --graphs {graphs}: leave one of them out"
        )
    check_captures(graphs, torch_device(device))


def _check_map(source: ModelSource) -> None:
    if not source.model:
        raise InputError(
            "--device-map spreads a --model: the bundled model and a --shape are on one device"
        )
    if source.device != "auto":
        raise InputError(
            f"--device-map chooses the devices, got --device {source.device} too: "
            "leave one of them out"
        )
    assert source.device_map is not None
    read_map(source.device_map)


def _check_shared(source: ModelSource, options: RecordingOptions) -> None:
    """Refuse what processes that share a model would each decide by their own clock or compiler."""
    wrong = {
        "--device-map": source.device_map is not None,
        "--weights": source.weights is not None,
        "--baselines": options.baselines is not None,
        "--scripted": source.scripted is not None,
        f"--graphs {options.graphs}": options.graphs not in (GraphMode.EAGER, GraphMode.STATIC),
    }
    if found := [option for option, is_wrong in wrong.items() if is_wrong]:
        raise InputError(
            f"{processes()} processes share the model ({LAUNCH}), and do not go with "
            f"{', '.join(found)}: leave that out, or run one process"
        )


def check_shared_heads(heads: ExitHeads) -> None:
    """Check that processes which share a model have heads of the full form.

    Of another form, each process would gather the rows of its own part of the LM head.

    Raises:
        InputError: The heads have another form, and there are several processes.
    """
    if processes() > 1 and not heads.form.is_full:
        raise InputError(
            f"{processes()} processes share the model, and heads of the form {heads.form.label} "
            "do not go with that: take full ones"
        )


def smaller_settings(source: ModelSource, options: RecordingOptions) -> str:
    """Return options that take less memory than these, in words."""
    captured = options.graphs not in (GraphMode.EAGER, GraphMode.STATIC)
    ways = [
        *(["--graphs eager"] if captured else []),
        *(["--dtype bfloat16"] if source.dtype in (Dtype.FLOAT32, Dtype.FLOAT64) else []),
        *(["--weights int8"] if _packable(source) else []),
        *(["fewer --layers"] if source.shape else []),
        *(["fewer --baselines"] if options.baselines is not None else []),
    ]
    return " or ".join(["fewer --max-new-tokens", *ways])


def _packable(source: ModelSource) -> bool:
    """Whether int8 weights are still to be had: for one process's checkpoint, from a library."""
    if source.weights is not None or source.shape or processes() > 1:
        return False
    try:
        device = torch_device(source.device)
        weight_config("int8", device.type, find_dtype(source.dtype, device))
    except (InputError, ImportError):
        return False
    return True
