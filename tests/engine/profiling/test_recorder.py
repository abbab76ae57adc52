"""Recording: complete, resumable at any piece, and refusing what it should not touch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.recorder import Recorder, record_plan
from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.schema import TABLES
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model
from tests.support.same_recordings import assert_same_but_timings
from tests.support.small_plan import small_plan

DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.05, placement=(3,)),
    Design.of(gamma=(0.03, 0.1), placement=(2, 4)),
    Design.of("fixed", placement=(4,), cap=2),
)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float32)
    return AdaDecoder(model, ExitHeads.identity(model, [1, 2, 3, 4, 5]))


@pytest.fixture(scope="module")
def plan() -> RecordingPlan:
    return small_plan(DESIGNS)


@pytest.fixture(scope="module")
def whole(
    decoder: AdaDecoder, plan: RecordingPlan, tmp_path_factory: pytest.TempPathFactory
) -> Profile:
    """Return an uninterrupted recording."""
    return record_plan(decoder, plan, tmp_path_factory.mktemp("whole") / "p", resume=False)


def test_a_recording_is_a_profile_with_every_table_filled(whole: Profile) -> None:
    """What was recorded reads back, and holds each design, prompt and repeat."""
    again = read_profile(whole.path)
    assert len(whole.runs) == len(DESIGNS) * 2 * 2 + len(DESIGNS) * 2
    assert all(len(getattr(again, name)) for name in TABLES)
    assert set(again.latency["kind"]) == {"embed", "layer", "head", "verify", "prefill", "host"}
    assert not (whole.path / "parts").exists()


def test_the_trace_is_what_the_model_says(
    decoder: AdaDecoder, plan: RecordingPlan, whole: Profile
) -> None:
    """The committed text in the trace is the model's own greedy text."""
    trace = Trace.from_profile(whole)
    for prompt, ids in enumerate(plan.encoded):
        own = decoder.parts.model.generate(
            torch.tensor([ids]), max_new_tokens=16, do_sample=False, pad_token_id=0
        )[0, len(ids) :].tolist()
        assert [trace.final(prompt, i) for i in range(trace.n_output(prompt))] == own


@pytest.mark.parametrize("stop_after", [1, 3, 7])
def test_an_interrupted_recording_resumes_to_the_same_tables(
    decoder: AdaDecoder, plan: RecordingPlan, whole: Profile, tmp_path: Path, stop_after: int
) -> None:
    """Stopped after any step and resumed, it equals an uninterrupted one in all but timings."""
    recorder = Recorder(decoder, plan, PieceStore.open(tmp_path / "p", plan.settings, resume=False))
    steps = recorder.run()
    for _ in range(stop_after):
        next(steps)
    with pytest.raises(ProfileError, match="resume"):
        read_profile(tmp_path / "p")
    assert_same_but_timings(record_plan(decoder, plan, tmp_path / "p", resume=True), whole)


def test_a_half_written_piece_is_made_again(
    decoder: AdaDecoder, plan: RecordingPlan, whole: Profile, tmp_path: Path
) -> None:
    """A piece without its mark, whatever its files hold, does not count."""
    list(
        Recorder(decoder, plan, PieceStore.open(tmp_path / "p", plan.settings, resume=False)).run()
    )
    piece = tmp_path / "p" / "parts" / "2-runs-001-0001"
    Path(f"{piece}.done").unlink()
    Path(f"{piece}.runs.parquet").write_bytes(b"PAR1 torn")
    assert_same_but_timings(record_plan(decoder, plan, tmp_path / "p", resume=True), whole)


def test_a_directory_that_holds_something_else_is_refused(
    decoder: AdaDecoder, plan: RecordingPlan, tmp_path: Path
) -> None:
    """Finished, unfinished, foreign, or begun with other settings: each is left as it is."""
    record_plan(decoder, plan, tmp_path / "done", resume=False)
    with pytest.raises(InputError, match="finished recording"):
        record_plan(decoder, plan, tmp_path / "done", resume=False)
    with pytest.raises(InputError, match="nothing to resume"):
        record_plan(decoder, plan, tmp_path / "done", resume=True)
    PieceStore.open(tmp_path / "begun", {"model": "other"}, resume=False)
    with pytest.raises(InputError, match="--resume"):
        record_plan(decoder, plan, tmp_path / "begun", resume=False)
    with pytest.raises(InputError, match="model was 'other'"):
        record_plan(decoder, plan, tmp_path / "begun", resume=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not an empty directory"):
        record_plan(decoder, plan, tmp_path / "foreign", resume=False)
    with pytest.raises(InputError, match="no unfinished recording"):
        record_plan(decoder, plan, tmp_path / "nowhere", resume=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and its tokenizer on disk, and prompts."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model("llama", torch.float32).save_pretrained(folder)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, 97)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    (folder / "prompts.jsonl").write_text(
        "".join(
            json.dumps({"prompt": f"w{i} w{i + 1} w{i + 2}", "domain": "d"}) + "\n"
            for i in range(10, 12)
        )
    )
    return folder


def options(saved: Path, out: Path) -> list[str]:
    model = [
        "--model",
        str(saved),
        "--heads",
        "identity:1,2,3,4,5",
        "--prompts",
        str(saved / "prompts.jsonl"),
    ]
    return [
        *model,
        "--out",
        str(out),
        "--max-new-tokens",
        "12",
        "--gammas",
        "0.05",
        "--placements",
        "2;2,4",
        "--repeats",
        "2",
    ]


@pytest.mark.slow
def test_a_killed_recording_resumes_to_the_same_tables(saved: Path, tmp_path: Path) -> None:
    """Killed twice in mid-recording, then resumed: only its timings differ from a whole one."""
    assert CliRunner().invoke(app, options(saved, tmp_path / "whole")).exit_code == 0
    program = [
        sys.executable,
        "-c",
        (  # as many visits as few_visits lets the recording it is compared with have
            "from adadecode.engine.profiling import recorder; recorder.VISITS = 1; "
            "from adadecode.engine.cli.entry_points import profile_main; profile_main()"
        ),
    ]
    killed = 0
    for arguments in (options(saved, tmp_path / "p"), ["--out", str(tmp_path / "p"), "--resume"]):
        process = subprocess.Popen(
            [*program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = len(list((tmp_path / "p").glob("parts/*.done")))
        while (
            process.poll() is None and len(list((tmp_path / "p").glob("parts/*.done"))) < before + 5
        ):
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed == 2
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"])
    assert done.exit_code == 0, done.output
    assert_same_but_timings(read_profile(tmp_path / "p"), read_profile(tmp_path / "whole"))


def host_is_full() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(("fill", "whose"), [(host_is_full, "machine"), (gpu_is_full, "GPU")])
def test_where_memory_runs_out_the_recording_can_be_gone_on_with(
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fill: Callable[[], None],
    whose: str,
) -> None:
    """A layer finds none once, after four pieces: these are kept, and --resume ends alike."""
    short = ["--limit", "2", "--max-new-tokens", "5", "--repeats", "1", "--placements", "2"]
    assert CliRunner().invoke(app, [*options(saved, tmp_path / "whole"), *short]).exit_code == 0
    forward, full = LlamaDecoderLayer.forward, []

    def short_of_memory(self: LlamaDecoderLayer, *args: Any, **kwargs: Any) -> Any:
        if not full and len(list((tmp_path / "p/parts").glob("*.done"))) == 4:
            full.append(True)
            fill()
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaDecoderLayer, "forward", short_of_memory)
    message = refusal([*options(saved, tmp_path / "p"), *short])
    assert message.startswith(f"the {whose}'s memory does not suffice")
    assert (
        "go on with --resume, or record anew with fewer --max-new-tokens or --dtype bfloat16"
        in message
    )
    assert len(list((tmp_path / "p/parts").glob("*.done"))) == 4
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"]).exit_code == 0
    assert_same_but_timings(read_profile(tmp_path / "p"), read_profile(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--gammas", "1.5"], "gamma is a probability in \\[0, 1\\], got 1.5"),
        (["--gammas", "half"], "wanted --gammas as numbers"),
        (["--placements", "6"], "no head at depth 6"),
        (["--placements", "2;x"], "wanted --placements as whole numbers"),
        (["--heads", "identity:9"], "a head lies at a depth 1..5 of this model, got 9"),
        (["--heads", "nowhere"], "no heads in nowhere"),
        (["--prompts", "nowhere.jsonl"], "no prompt file"),
        (["--domains", "poetry"], "no prompts of domain poetry: there are d"),
        (["--max-new-tokens", "0"], "at least 1"),
        (["--max-new-tokens", "500"], "more than the model's 128 positions"),
        (["--max-tokens", "3"], "batches of up to 6 tokens"),
        (["--contexts", "5,8"], "widen them"),
        (["--dtype", "float12"], "wanted --dtype as one of auto, float16"),
        (["--device", "abacus"], "unknown device"),
        (["--demo"], "not both"),
        (["--temperature", "0", "--sample-seed", "3"], "a seed belongs to a sampled text"),
        (["--threads", "100000"], "--threads of at most"),
        (["--max-tokens", "0"], "--max-tokens of at least 1, got 0"),
        (["--walks", "7"], "wanted --walks at depths 1..6 of this model, got 7"),
        (["--threads", "0"], "--threads of at least 1"),
        (["--branch-floor", "0"], "--branch-floor as a probability"),
        (["--branch-floor", "nan"], "--branch-floor as a probability"),
        (["--temperature", "-1"], "a temperature is a finite number of 0 or more, got -1"),
        (["--top-k", "5"], "give a temperature above 0 too"),
        (
            ["--temperature", "1", "--sample-seed", "-3"],
            "a seed is a whole number of 0 or more, got -3",
        ),
    ],
)
def test_bad_options_are_refused_with_a_sentence(
    saved: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    """Each is an InputError before anything is recorded."""
    result = CliRunner().invoke(app, [*options(saved, tmp_path / "p"), *change])
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    "change",
    [
        ["--gammas", "x"], ["--placements", "x"], ["--cap", "0"], ["--repeats", "0"],
        ["--samples", "0"], ["--limit", "0"], ["--max-new-tokens", "0"], ["--max-tokens", "2"],
        ["--walks", "0"], ["--contexts", "x"], ["--branch-floor", "2"], ["--dtype", "float12"],
        ["--head-dtype", "int3"], ["--shortlist", "-1"], ["--shortlist-from", "x"],
        ["--top-p", "0.5"], ["--temperature", "nan"], ["--temperature", "1", "--top-p", "2"],
        ["--baselines", "eagle"], ["--draft-model", "m"], ["--out", ""],
    ],
)  # fmt: skip
def test_what_an_option_says_alone_is_checked_before_anything_is_loaded(
    saved: Path, tmp_path: Path, change: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adadecode.engine.profiling.setup.load_model", lambda *_, **__: pytest.fail("it was loaded")
    )
    refusal([*options(saved, tmp_path / "p"), *change])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_graphs_that_need_a_gpu_are_refused_before_anything_is_loaded(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adadecode.engine.profiling.setup.load_model", lambda *_, **__: pytest.fail("it was loaded")
    )
    assert "captures on a CUDA device" in refusal(
        [*options(saved, tmp_path / "p"), "--graphs", "cuda"]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: out.write_text("x"), "p is a file: name another place with --out"),
        (lambda out: (out.mkdir(), (out / "notes").write_text("x")), "not an empty directory"),
        (
            lambda out: (out.mkdir(), (out / "manifest.json").write_text("{}")),
            "already holds a finished recording",
        ),
        (
            lambda out: (out.mkdir(), (out / "recording.json").write_text("{}")),
            "holds an unfinished recording",
        ),
    ],
)
def test_the_directory_is_checked_before_anything_is_loaded(
    saved: Path, tmp_path: Path, make: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "p")
    monkeypatch.setattr(
        "adadecode.engine.profiling.setup.load_model", lambda *_, **__: pytest.fail("it was loaded")
    )
    assert message in refusal(options(saved, tmp_path / "p"))


def test_another_recording_is_not_resumed_and_nothing_is_loaded(
    begun: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adadecode.engine.profiling.setup.load_model", lambda *_, **__: pytest.fail("it was loaded")
    )
    assert "is 17" in refusal(["--out", str(begun[0]), "--resume", "--repeats", "17"])


def refusal(arguments: list[str]) -> str:
    """What a run that is refused says."""
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


@pytest.fixture
def begun(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A recording stopped after its first piece, and the model's folder; both may be changed."""
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    ExitHeads.identity(tiny_model("llama", torch.float32), [2, 4]).save(folder / "heads")
    chosen = options(folder, tmp_path / "p")
    chosen[chosen.index("--heads") + 1] = str(folder / "heads")
    write, left = PieceStore.write, 2

    def stopping(self: PieceStore, piece: str, tables: dict[str, Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        write(self, piece, tables)

    with monkeypatch.context() as patch:
        patch.setattr(PieceStore, "write", stopping)
        assert CliRunner().invoke(app, chosen).exit_code == 130
    return tmp_path / "p", folder


def test_a_recording_does_not_go_on_with_other_prompts(begun: tuple[Path, Path]) -> None:
    """There are as many prompts as before, but one of them differs."""
    out, folder = begun
    prompts = folder / "prompts.jsonl"
    prompts.write_text(prompts.read_text().replace("w10", "w50"))
    assert "prompts_digest" in refusal(["--out", str(out), "--resume"])


def test_a_recording_does_not_go_on_with_other_heads(begun: tuple[Path, Path]) -> None:
    """Heads retrained in the same folder."""
    out, folder = begun
    model = tiny_model("llama", torch.float32)
    ExitHeads(model, {depth: torch.eye(model.config.hidden_size) * 1.5 for depth in (2, 4)}).save(
        folder / "heads"
    )
    assert "heads_digest" in refusal(["--out", str(out), "--resume"])


@pytest.mark.parametrize("left", ["parts", "recording.json.part"])
def test_a_recording_killed_before_it_began_is_begun_anew(tmp_path: Path, left: str) -> None:
    """What such a kill leaves is nothing that would be lost."""
    (tmp_path / left).mkdir() if left == "parts" else (tmp_path / left).write_text("{")
    PieceStore.open(tmp_path, {"seed": 0}, resume=False)
    assert PieceStore.settings(tmp_path) == {"seed": 0}


def test_a_recording_killed_after_its_manifest_is_whole(begun: tuple[Path, Path]) -> None:
    """--resume takes away what is left of the pieces."""
    out, _ = begun
    assert CliRunner().invoke(app, ["--out", str(out), "--resume"]).exit_code == 0
    (out / "recording.json").write_text("{}")
    assert CliRunner().invoke(app, ["--out", str(out), "--resume"]).exit_code == 0
    assert not (out / "recording.json").exists()
    assert read_profile(out).manifest["settings"]["n_prompts"] == 2


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000])
def test_damaged_settings_are_refused(tmp_path: Path, content: str) -> None:
    """The message is one sentence, without a traceback."""
    (tmp_path / "recording.json").write_text(content)
    assert "damaged" in refusal(["--out", str(tmp_path), "--resume"])


def test_an_out_that_is_no_directory_is_refused(saved: Path, tmp_path: Path) -> None:
    """A file, or a path through one."""
    (tmp_path / "file").write_text("")
    assert "file is a file" in refusal(["--out", str(tmp_path / "file"), "--resume"])
    assert "no unfinished recording" in refusal(["--out", str(tmp_path / "no"), "--resume"])
    assert "cannot write" in refusal(options(saved, tmp_path / "file" / "sub"))


def test_a_tokenizer_of_another_model_is_refused(saved: Path, tmp_path: Path) -> None:
    """Token ids that the model has no embedding for."""
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["w120"] = 120
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "prompts.jsonl").write_text('{"prompt": "w12 w120 w13"}\n')
    assert "token id 120" in refusal(options(folder, tmp_path / "p"))


def test_the_demo_knows_its_dtypes(tmp_path: Path) -> None:
    """A torch dtype that no model runs in."""
    assert "wanted --dtype as one of auto" in refusal(
        ["--demo", "--dtype", "int8", "--out", str(tmp_path / "p")]
    )


def test_a_repeat_that_goes_other_rounds_stops_the_recording(
    begun: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaying it would be comparing with another run."""
    out, _ = begun
    decode, calls = Recorder._decode, 0

    def drifting(self: Recorder, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        done, row = decode(self, *args)
        return (done[:-1] if calls > 12 else done), row

    monkeypatch.setattr(Recorder, "_decode", drifting)
    assert "went other rounds" in refusal(["--out", str(out), "--resume"])


def test_a_prompt_is_recorded_up_to_its_own_length(saved: Path, tmp_path: Path) -> None:
    """Runs and trace stop there, and the replay knows it."""
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    lines = [
        {"prompt": "w10 w11"},
        {"prompt": "w12 w13", "max_new_tokens": 5},
        {"prompt": "w14 w15", "max_new_tokens": 50},
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert CliRunner().invoke(app, options(folder, tmp_path / "p")).exit_code == 0
    profile = read_profile(tmp_path / "p")
    assert profile.prompts["max_new_tokens"].tolist() == [12, 5, 12]
    assert profile.runs[profile.runs["prompt"] == 1]["n_tokens"].unique().tolist() == [5]
    structure = validate(profile).to_dict()["structure"]
    assert (
        structure["exact"] == structure["runs"] == 3 * len(profile.manifest["settings"]["designs"])
    )
