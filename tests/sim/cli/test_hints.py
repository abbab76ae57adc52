"""The commands and options that messages hint at work: each is taken from its message and run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adadecode.profiles import Profile
from tests.support.handmade import promising, recorded_profile
from tests.support.paths import DEMO_PROFILE
from tests.support.recordings import about, on_a100
from tests.support.sim_command import run
from tests.support.synthetic_profile import synthetic_profile

FEW = ("--gammas", "0.3,0.6", "--max-heads", "1", "--threads", "1")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Return a recording of a known model on a machine that the catalogue does not know."""
    manifest = {**about(), "hardware": {"device": "a machine"}}
    return synthetic_profile(tmp_path_factory.mktemp("hints") / "p", manifest=manifest)


@pytest.fixture
def gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the file of a device, as the list of devices says how to make it."""
    assert run("devices", "--template") == 0
    (tmp_path / "my-gpu.toml").write_text(capsys.readouterr().out)
    return tmp_path / "my-gpu.toml"


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return the message with which a command is refused."""
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return str(captured.err)


def hinted(message: str, pattern: str) -> list[str]:
    """Return the words that a message hints at."""
    found = re.search(pattern, " ".join(message.split()))
    assert found, message
    return found[0].split()


@pytest.mark.parametrize(
    ("command", "option"),
    [("predict", "--cap"), ("limits", "--cap"), ("timeline", "--cap"), ("sweep", "--caps")],
)
def test_a_cap_beyond_what_was_measured_is_explained_at_once(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    option: str,
) -> None:
    """How far to profile is known from the cap alone; so is the cap that can be had."""
    more = {"timeline": ["--out", tmp_path / "t.json"], "sweep": [*FEW, "--out", tmp_path / "s"]}
    words = [command, profile.path, *more.get(command, [])]
    words += [] if command == "sweep" else ["--gamma", "0"]
    if command == "sweep":
        words[words.index("--gammas") + 1] = "0"
    message = refused(capsys, *words, option, 20)
    assert "profile with --max-tokens 21" in message
    assert run(*words, *hinted(message, rf"{option} \d+$")) == 0


def test_the_device_of_a_recording_is_named_with_from_alone(
    profile: Profile, gpu: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limits of a recording on an unknown machine; no other device is wanted."""
    words = ["limits", profile.path, "--gamma", "0.6"]
    assert run(*words) == 0
    unknown = capsys.readouterr().out
    assert "say which device it was with --from" in " ".join(unknown.split())
    assert run(*words, "--from", gpu) == 0
    assert "what if the device had another bandwidth, and the same" in capsys.readouterr().out


def test_the_device_of_a_recording_is_named_to_carry_it(
    profile: Profile, gpu: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", profile.path, "--to", "h100-sxm"]
    assert hinted(refused(capsys, *words), r"--from, a name or FILE.toml")
    assert run(*words, "--from", gpu) == 0


def test_a_sweep_of_a_recording_takes_its_device_too(
    profile: Profile, gpu: Path, tmp_path: Path
) -> None:
    assert run("sweep", profile.path, *FEW, "--from", gpu, "--out", tmp_path / "s") == 0


def test_a_finished_sweep_says_how_to_report_on_it(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("plotly")
    monkeypatch.chdir(tmp_path)
    assert run("sweep", profile.path, *FEW, "--out", "s") == 0
    words = hinted(capsys.readouterr().out, r"adadecode-sim report .* --out report.html")
    assert run(*words[1:]) == 0
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["account", "P", "--model", "llama-2-7b"],
        ["predict", "datasheet", "--to", "h100-sxm", "--model", "llama-2-7b", "--trace", "P"],
    ],
)
def test_heads_are_mapped_in_proportion(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    words = [str(DEMO_PROFILE) if word == "P" else word for word in words]
    assert run(*words, *hinted(refused(capsys, *words), r"--map [\d:,]+")) == 0


def test_a_datasheet_says_what_it_lacks(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One thing after the other, each with the option of the command that was called."""
    model = ["--model", "llama-3.2-1b", "--map", "2:2,4:4,6:6"]
    for words, device in (
        (["predict", "datasheet", *model], ["--to", "h100-sxm"]),
        (["limits", "datasheet", *model, "--gamma", "0.6"], ["--to", "h100-sxm"]),
        (
            ["sweep", "datasheet", *model, *FEW, "--out", tmp_path / "s"],
            ["--devices", "h100-sxm"],
        ),
    ):
        assert "--trace" in refused(capsys, *words)
        words += ["--trace", profile.path]
        assert device[0] in refused(capsys, *words)
        assert run(*words, *device) == 0
        capsys.readouterr()


def test_more_users_can_be_had_with_the_device_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["limits", on_a100(tmp_path / "p").path, "--gamma", "0.6"]
    assert run(*words) == 0
    note = " ".join(capsys.readouterr().out.split())
    assert run(*words, *hinted(note, r"--to \S+ would hold the efficiency")[:2]) == 0


def test_heads_without_an_agreement_are_answered_with_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The example is enough for heads; the next hint is enough for costs."""
    words = ["acceptance", "--speedup", "1.2", "--prompts", "1", "--tokens", "60"]
    words += hinted(refused(capsys, *words), r"--layers \d+ --depths [\d,]+ --agreement [\d.,]+\d")
    words += hinted(refused(capsys, *words), r"--head-cost [\d.]+")
    assert run(*words) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["memory", "llama-2-7b", "--device", "list"],
        ["predict", "nowhere", "--to", "list"],
        ["predict", "nowhere", "--from", "LIST"],
        ["transfer", "nowhere", "--to", "list"],
        ["sweep", "nowhere", "--out", "unused", "--devices", "recorded,list"],
        ["account", "nowhere", "--to", "list"],
    ],
)
def test_list_lists_the_devices(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(*words) == 0
    assert "h100-sxm" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["memory", "list", "--device", "l4"], ["account", "nowhere", "--model", "list"]]
)
def test_list_lists_the_models(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(*words) == 0
    assert "llama-3.1-8b" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "listing"),
    [
        (["memory", "llama-2-7b", "--device", "gpu-1"], "devices"),
        (["memory", "model-1", "--device", "l4"], "models"),
    ],
)
def test_an_unknown_name_points_to_the_list(
    capsys: pytest.CaptureFixture[str], words: list[str], listing: str
) -> None:
    message = refused(capsys, *words)
    assert run(*hinted(message, f"adadecode-sim {listing}")[1:]) == 0


def test_an_instrumented_run_that_is_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded_profile(tmp_path / "p").path
    words = ["timeline", path, "--out", tmp_path / "t.json", "--measured"]
    message = refused(capsys, *words, "--gamma", "0.123")
    label, prompt = re.findall(r"(\w+ [\d/]+ gamma [\d./]+) \(prompt (\d+)\)", message)[-1]
    _, heads, _, gamma = label.split()
    named = ["--heads", heads.replace("/", ","), "--gamma", gamma.replace("/", ",")]
    assert run(*words, *named, "--prompt", prompt) == 0


def test_a_percentage_without_a_sign_is_answered_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["validate", promising(recorded_profile(tmp_path / "p")).path, "--fail-over"]
    message = refused(capsys, *words, "20")
    (typed,) = hinted(message, r"\d+%$")
    assert run(*words, typed) == 0
