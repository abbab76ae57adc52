"""Numerics, graphs, packed weights and device maps of recordings, and what does not go together."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app, settled
from adadecode.engine.loading.quantization import format_of, weight_config
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.engine.profiling import execution_options
from adadecode.engine.profiling.execution_options import smaller_settings
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.recording import begun_request
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.runtime.choices import GraphMode
from adadecode.engine.runtime.distributed import unpacked
from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.saved_model import options, refusal, saved_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


def stopped_after(pieces: int, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Ctrl-C when so many pieces are kept."""
    write, left = PieceStore.write, pieces

    def stopping(self: PieceStore, piece: str, tables: dict[str, Any]) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        write(self, piece, tables)

    with monkeypatch.context() as patch:
        patch.setattr(PieceStore, "write", stopping)
        assert CliRunner().invoke(app, arguments).exit_code == 130


@pytest.fixture(scope="module")
def canonical(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Stopped among its runs, and gone on with."""
    out = tmp_path_factory.mktemp("canonical") / "p"
    chosen = [*options(saved, out), "--numerics", "canonical", "--dtype", "bfloat16"]
    with pytest.MonkeyPatch.context() as patch:
        stopped_after(3, patch, chosen)
    done = CliRunner().invoke(app, ["--out", str(out), "--resume"])
    assert done.exit_code == 0, done.output
    return read_profile(out)


def test_canonical_numerics_are_recorded_and_resumed(canonical: Profile) -> None:
    assert (
        canonical.manifest["numerics"] == canonical.manifest["settings"]["numerics"] == "canonical"
    )
    assert any(
        limitation.startswith("canonical numerics")
        for limitation in canonical.manifest["limitations"]
    )


def test_a_canonical_recording_is_replayed_exactly(canonical: Profile) -> None:
    found = validate(canonical)
    assert found.holds
    assert found.cells["exact"].all()


def test_a_recording_does_not_go_on_in_other_numerics(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(1, monkeypatch, options(saved, tmp_path / "p"))
    message = refusal(["--out", str(tmp_path / "p"), "--resume", "--numerics", "canonical"])
    assert "numerics was 'native', is 'canonical'" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--heads", ""], "wanted a text as --heads, got '': give one"),
        (["--prompts", " "], "wanted a text as --prompts, got ' ': give one"),
        (["--numerics", "exact"], "wanted --numerics as one of native, canonical, got 'exact'"),
        (["--graphs", "vulkan"], "wanted --graphs as one of auto, eager"),
        (["--numerics", "canonical", "--graphs", "static"], "runs eagerly, got --graphs static"),
        (["--weights", "int3"], "wanted --weights as one of int8, int4, got 'int3'"),
        (["--device-map", "nowhere.json"], "wanted --device-map as one of auto, balanced"),
        (["--device-map", "auto", "--device", "cpu"], "leave one of them out"),
    ],
)
def test_what_does_not_fit_is_refused(
    saved: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    """Options are checked before anything is recorded."""
    assert message in refusal([*options(saved, tmp_path / "p"), *change])
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("gpu", "count", "change", "graphs"),
    [
        (True, 1, {}, "cuda"),
        (True, 1, {"graphs": "static"}, "static"),
        (True, 1, {"device": "cpu"}, "eager"),
        (True, 2, {}, "eager"),
        (True, 1, {"device_map": "auto"}, "eager"),
        (True, 1, {"numerics": "canonical"}, "eager"),
        (False, 1, {}, "eager"),
    ],
)
def test_graphs_are_captured_where_all_is_on_one_gpu(
    gpu: bool, count: int, change: dict[str, Any], graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless something else is asked for; a sentence says which."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(execution_options, "processes", lambda: count)
    request, reason = settled(RecordingRequest.from_settings(change))
    assert request.options.graphs == graphs
    assert (f"--graphs {graphs}: " in reason) == ("graphs" not in change)


@pytest.mark.parametrize("given", [{}, {"graphs": GraphMode.AUTO}])
def test_a_recording_goes_on_with_the_graphs_it_began_with(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    """What the machine or the command line offers now does not matter."""
    begun = RecordingRequest.from_settings({"graphs": "eager"}).to_settings()
    PieceStore.open(tmp_path / "p", begun, resume=False)
    changed = GivenOptions(RecordingOptions, given)
    request = begun_request(tmp_path / "p", GivenOptions(ModelSource), changed, resume=True)
    assert request.options.graphs == "eager"


def smaller(settings: dict[str, Any]) -> str:
    request = RecordingRequest.from_settings(settings)
    return smaller_settings(request.source, request.options)


@pytest.mark.parametrize(
    ("change", "count", "proposed"),
    [
        ({}, 1, True),
        ({"weights": "int4"}, 1, False),
        ({"shape": "llama-3.1-8b"}, 1, False),
        ({}, 2, False),
    ],
)
def test_packed_weights_are_proposed_where_they_can_be_had(
    change: dict[str, Any], count: int, proposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_options, "processes", lambda: count)
    monkeypatch.setattr(execution_options, "weight_config", lambda *_: None)
    assert ("--weights int8" in smaller({"device": "cpu", "graphs": "eager", **change})) == proposed


def test_packed_weights_that_no_library_provides_are_not_proposed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other ways to save memory are proposed."""

    def missing(*_: object) -> None:
        raise InputError("no library here")

    monkeypatch.setattr(execution_options, "weight_config", missing)
    printed = smaller({"graphs": "cuda", "device": "cpu", "baselines": "all"})
    assert (
        printed
        == "fewer --max-new-tokens or --graphs eager or --dtype bfloat16 or fewer --baselines"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demo", "--device-map", "auto"], "--device-map spreads a --model"),
        (
            ["--shape", "llama-3.1-8b", "--scripted", "p", "--weights", "int8"],
            "choose its --dtype instead",
        ),
    ],
)
def test_a_model_that_is_not_loaded_is_not_packed_or_spread(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in refusal([*arguments, "--out", str(tmp_path / "p")])


@pytest.mark.skipif(
    find_spec("accelerate") is None, reason="needs accelerate, which places modules"
)
@pytest.mark.parametrize("content", ["[]", "{}", '{"model": null}'])
def test_a_device_map_names_modules_and_devices(saved: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "map.json").write_text(content)
    assert '{"module": device, ...}' in refusal(
        [*options(saved, tmp_path / "p"), "--device-map", str(tmp_path / "map.json")]
    )


@pytest.mark.skipif(
    find_spec("accelerate") is None, reason="needs accelerate, which places modules"
)
def test_a_model_is_placed_by_a_map_of_its_modules(saved: Path, tmp_path: Path) -> None:
    """Of one device, as far as a CPU goes."""
    (tmp_path / "map.json").write_text('{"model": "cpu", "lm_head": "cpu"}')
    done = CliRunner().invoke(
        app, [*options(saved, tmp_path / "p"), "--device-map", str(tmp_path / "map.json")]
    )
    assert done.exit_code == 0, done.output
    profile = read_profile(tmp_path / "p")
    assert profile.manifest["settings"]["device_map"] == str(tmp_path / "map.json")
    assert validate(profile).holds


@pytest.mark.parametrize(
    ("quantization", "wanted"),
    [
        (None, None),
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        (
            {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}},
            },
            "int8",
        ),
        ({"quant_method": "mxfp4"}, "mxfp4"),
    ],
)
def test_packed_weights_are_told_by_the_config(
    quantization: dict[str, Any] | None, wanted: str | None
) -> None:
    """As checkpoints have it, and as transformers leaves it."""

    class Config:
        quantization_config = quantization

    assert format_of(Config()) == wanted


def test_a_packed_tensor_comes_apart_into_plain_ones() -> None:
    """Fingerprints are taken of its parts."""

    class Packed(torch.Tensor):
        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["codes", "scales"], None

    tensor = torch.zeros(8).as_subclass(Packed)
    tensor.codes, tensor.scales = torch.arange(8), torch.ones(1)  # type: ignore[attr-defined]
    assert list(map(len, unpacked(tensor))) == [8, 1]


def test_int4_weights_want_a_gpu_and_bfloat16() -> None:
    pytest.importorskip("torchao")
    with pytest.raises(InputError, match="on a CUDA device alone"):
        weight_config("int4", "cpu")
    with pytest.raises(InputError, match="take --dtype bfloat16"):
        weight_config("int4", "cuda", torch.float32)


def test_packed_weights_are_recorded_and_known_to_the_simulator(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchao")
    from adadecode.sim.hardware.provenance import Provenance

    stopped_after(2, monkeypatch, [*options(saved, tmp_path / "p"), "--weights", "int8"])
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"])
    assert done.exit_code == 0, done.output
    profile = read_profile(tmp_path / "p")
    assert profile.manifest["weights"] == "int8"
    assert any(
        limitation.startswith("int8 weights, in ") for limitation in profile.manifest["limitations"]
    )
    assert str(Provenance.of(profile).require_precision()) == "int8 weights, fp32 else"
    assert validate(profile).holds


def test_a_capture_that_fails_is_told_once_and_kept_over_a_resumption(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording goes on, is stopped and resumed without a failure, and still tells of it."""
    run, calls = StaticModel.run_padded, []

    def failing(self: StaticModel, *args: Any) -> Any:
        calls.append(1)
        if len(calls) > 50:
            self.fall_back("layers 0 to 2 could not be captured: no reason")
        return run(self, *args)

    chosen = [*options(saved, tmp_path / "p"), "--graphs", "static"]
    monkeypatch.setattr(StaticModel, "run_padded", failing)
    with pytest.warns(UserWarning, match="could not be captured") as warned:
        stopped_after(5, monkeypatch, chosen)
    monkeypatch.setattr(StaticModel, "run_padded", run)
    assert len([one for one in warned if "could not be captured" in str(one.message)]) == 1
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"]).exit_code == 0
    profile = read_profile(tmp_path / "p")
    assert (
        profile.manifest["limitations"].count("layers 0 to 2 could not be captured: no reason") == 1
    )
    assert validate(profile).holds
