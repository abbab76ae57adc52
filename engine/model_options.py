"""Options of ``adadecode-profile`` that say how a model is held and computed: which go with which, and which would take less memory."""

from __future__ import annotations

from typing import Any

from engine.graphs import GRAPHS
from engine.heads import ExitHeads
from engine.numerics import NUMERICS
from engine.parallel import LAUNCH, processes
from engine.placing import read_map
from engine.quantised import check_weights
from profiles.errors import InputError


def check_model(chosen: dict[str, Any]) -> None:
    """Raises InputError where an option names nothing known, or does not go with another one."""
    numerics, graphs = chosen["numerics"], chosen["graphs"]
    if numerics not in NUMERICS:
        raise InputError(f"wanted --numerics as one of {', '.join(NUMERICS)}, got {numerics!r}")
    if graphs not in GRAPHS:
        raise InputError(f"wanted --graphs as one of {', '.join(GRAPHS)}, got {graphs!r}")
    if numerics == "canonical" and graphs != "eager":
        raise InputError(
            f"--numerics canonical has static shapes of its own and runs eagerly, got --graphs {graphs}: leave one of them out"
        )
    check_weights(chosen["weights"])
    if chosen["weights"] is not None and chosen["shape"]:
        raise InputError("--weights packs a checkpoint as it is loaded, a --shape is made of random weights: choose its --dtype instead")
    if chosen["device_map"] is not None:
        _check_map(chosen)
    if processes() > 1:
        _check_shared(chosen)


def _check_map(chosen: dict[str, Any]) -> None:
    if not chosen["model"]:
        raise InputError("--device-map spreads a --model: the bundled model and a --shape are on one device")
    if chosen["device"] != "auto":
        raise InputError(f"--device-map chooses the devices, got --device {chosen['device']} too: leave one of them out")
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
        *(["--weights int8"] if chosen["weights"] is None and not chosen["shape"] else []),
        *(["fewer --layers"] if chosen["shape"] else []),
    ]
    return " or ".join(["fewer --max-new-tokens", *ways])
