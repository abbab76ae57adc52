"""What a GPU says of itself through NVML, by a stand-in, and errors that say memory ran out."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from adadecode.engine.loading.model_loader import enough_memory
from adadecode.engine.runtime.environment import EnergyMeter, out_of_memory
from adadecode.profiles.errors import InputError


class NVMLError(Exception):
    """An error as the library raises it."""


def refuse(*_: object) -> int:
    raise NVMLError("not supported")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return a library that reports everything but clocks."""
    made = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 5_500,
        nvmlSystemGetDriverVersion=lambda: "580.1",
        nvmlDeviceGetClockInfo=refuse,
        nvmlDeviceGetTemperature=lambda handle, kind: 41,
        nvmlDeviceGetPowerUsage=lambda handle: 76_500,
        nvmlDeviceGetEnforcedPowerLimit=lambda handle: 700_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="1-2")
    )
    return made


def test_a_gpu_tells_the_power_it_draws_beside_its_limit(nvml: SimpleNamespace) -> None:
    """In watts; what it does not tell is left out."""
    meter = EnergyMeter(torch.device("cuda", 0))
    assert meter.joules() == 5.5
    assert meter.describe() == {
        "driver": "580.1",
        "temperature_c": 41,
        "power_w": 76.5,
        "power_limit_w": 700.0,
    }


def test_a_cpu_tells_nothing() -> None:
    assert EnergyMeter(torch.device("cpu")).describe() == {}


def test_an_allocation_that_cannot_be_is_an_input_error_on_a_cpu() -> None:
    """The error is the one that torch itself raises."""
    with (
        pytest.raises(
            InputError,
            match=r"the machine's memory does not suffice .*DefaultCPUAllocator.*: close something",
        ),
        enough_memory("close something"),
    ):
        torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "GPU"),
        (
            RuntimeError(
                "CUDA error: out of memory\nCUDA kernel errors might be reported at some other call"
            ),
            "GPU",
        ),
        (
            RuntimeError(
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
            ),
            "GPU",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "GPU"),
        (
            RuntimeError(
                "NCCL error in: ProcessGroupNCCL.cpp:94, unhandled cuda error\nLast error:\nCuda "
                "failure 2 'out of memory'"
            ),
            "GPU",
        ),
        (torch.AcceleratorError("CUDA error: out of memory"), "GPU"),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), None),
        (MemoryError(), "machine"),
        (ValueError("out of memory, says a text"), None),
        (RuntimeError("shapes"), None),
    ],
)
def test_only_errors_of_memory_are_taken_for_them(error: Exception, whose: str | None) -> None:
    assert out_of_memory(error) == (whose is not None)
    with (
        pytest.raises(
            InputError if whose else type(error), match=f"the {whose}'s memory" if whose else None
        ),
        enough_memory("a"),
    ):
        raise error
