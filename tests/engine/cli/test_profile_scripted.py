"""``adadecode-profile --shape --scripted``: a whole profile, labelled wherever it is shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app
from adadecode.engine.cli.tables import summary_table
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.paths import DEMO_PROFILE, ROOT
from tests.support.sim_command import run, run_json
from tests.support.small_shape import N_LAYERS, shape_file

TIMED = {"runs": ["prefill_s", "decode_s", "energy_j"], "works": ["seconds"]}


def options(shape: str, out: Path) -> list[str]:
    return [
        *(
            "--out",
            str(out),
            "--shape",
            shape,
            "--scripted",
            str(DEMO_PROFILE),
            "--map",
            "2:1,5:2,9:4",
            "--domains",
            "arithmetic,prose",
        ),
        *(
            "--limit",
            "1",
            "--max-new-tokens",
            "14",
            "--repeats",
            "2",
            "--gammas",
            "0.4",
            "--placements",
            "1;2,4",
            "--device",
            "cpu",
        ),
    ]


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> str:
    return shape_file(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def recorded(shape: str, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    out = tmp_path_factory.mktemp("scripted") / "p"
    result = CliRunner().invoke(app, options(shape, out))
    assert result.exit_code == 0, result.output
    return read_profile(out)


def refusal(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_the_manifest_says_whose_decisions_these_are(recorded: Profile) -> None:
    about, source = recorded.manifest["scripted"], read_profile(DEMO_PROFILE).manifest
    assert about == {
        "profile": "demo-cpu",
        "digest": source["digest"],
        "model": "adadecode demo model",
        "n_layers": 16,
        "map": {"2": 1, "5": 2, "9": 4},
        "prompts": [0, 8],
    }
    assert recorded.manifest["limitations"][0].startswith(
        "scripted: exits, accepts and tokens are those of demo-cpu"
    )
    assert recorded.manifest["model"]["name"] == "tiny, random weights"
    assert recorded.manifest["eos_token_ids"] == source["eos_token_ids"]


def test_text_heads_and_branches_are_the_mapped_recordings(recorded: Profile) -> None:
    source = Trace.from_profile(read_profile(DEMO_PROFILE)).mapped({2: 1, 5: 2, 9: 4}, N_LAYERS)
    trace = Trace.from_profile(recorded)
    assert trace.depths == source.depths
    for prompt, number in enumerate((0, 8)):
        assert trace.n_prompt(prompt) == source.n_prompt(number)
        assert all(
            trace.head(prompt, output, depth) == source.head(number, output, depth)
            for output in range(1, 14)
            for depth in trace.depths
        )
    assert len(recorded.branches)


def test_every_structure_is_exact_and_measured_time_is_replayed(recorded: Profile) -> None:
    """The recording passes T0 and T1."""
    comparison = validate(recorded)
    assert comparison.holds
    assert comparison.cells["exact"].all()
    assert not comparison.explained
    assert len(comparison.cells) == 4 * 2  # vanilla, two adadecode, fixed, on two prompts
    assert comparison.cells["prediction_error"].notna().all()
    assert comparison.cells["replay_error"].abs().max() < 0.5


def test_validate_shows_the_label(recorded: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run_json(capsys, "validate", recorded.path, "--json")["scripted"]["profile"] == "demo-cpu"
    )
    assert run("validate", recorded.path) == 0
    assert "scripted: decisions of demo-cpu" in capsys.readouterr().out


def test_a_recording_of_its_own_decisions_is_not_called_scripted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("validate", DEMO_PROFILE) == 0
    assert "scripted" not in capsys.readouterr().out


def test_predictions_from_it_are_hypothetical(
    recorded: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run_json(
        capsys, "predict", recorded.path, "--heads", "2", "--gamma", "0.4", "--json"
    )
    assert document["hypothetical"]
    assert any("scripted: decisions of demo-cpu" in note for note in document["notes"])


def test_sweeps_of_it_are_labelled(
    recorded: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have the same notes as predictions."""
    few = ["--gammas", "0.4", "--max-heads", "1", "--threads", "1"]
    assert run("sweep", recorded.path, "--out", tmp_path / "s", *few) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "(hypothetical)" in printed
    assert run("predict", recorded.path, "--heads", "2", "--gamma", "0.4") == 0
    for out in (printed, " ".join(capsys.readouterr().out.split())):
        assert "is scripted: decisions of demo-cpu" in out
        assert "its own model never said this text" in out


def test_accounts_of_it_are_labelled(recorded: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """They are hypothetical, as predictions are."""
    chosen = ["account", recorded.path, "--heads", "2", "--gamma", "0.4"]
    assert run(*chosen) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "(hypothetical)" in printed
    assert "is scripted: decisions of demo-cpu" in printed
    document = run_json(capsys, *chosen, "--json")
    assert document["hypothetical"]
    assert document["notes"][0].startswith("hypothetical: ")


def test_latencies_are_carried_by_the_shape_that_ran(
    recorded: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    cpus = ROOT / "tests" / "integration" / "golden"
    document = run_json(
        capsys,
        "predict",
        recorded.path,
        "--from",
        cpus / "this_cpu.toml",
        "--to",
        cpus / "other_cpu.toml",
        "--heads",
        "2",
        "--gamma",
        "0.4",
        "--json",
    )
    assert document["basis"] == "carried"


def test_the_summary_shows_the_label(recorded: Profile) -> None:
    shown = io.StringIO()
    Console(file=shown, width=200).print(summary_table(recorded))
    assert (
        "scripted: decisions of demo-cpu (adadecode demo model, 16 layers), "
        "its heads 2 at 1, 5 at 2, 9 at 4" in " ".join(shown.getvalue().split())
    )


def test_the_report_shows_the_label(
    recorded: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly")
    assert run("report", recorded.path, "--out", tmp_path / "report.md") == 0
    text = (tmp_path / "report.md").read_text()
    assert "With scripted decisions, on" in text
    assert "its heads 2 at 1, 5 at 2, 9 at 4" in text


def test_an_interrupted_recording_is_resumed_to_the_same_tables(
    recorded: Profile, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed among its runs; only the timings differ."""
    write, left = PieceStore.write, 4

    def stopping(self: PieceStore, piece: str, tables: dict[str, Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        write(self, piece, tables)

    with monkeypatch.context() as patch:
        patch.setattr(PieceStore, "write", stopping)
        assert CliRunner().invoke(app, options(shape, tmp_path / "p")).exit_code == 130
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"]).exit_code == 0
    again = read_profile(tmp_path / "p")
    for name in ("prompts", "trace", "branches", "runs", "rounds", "works"):
        left_table, right_table = (
            getattr(one, name).drop(columns=TIMED.get(name, [])) for one in (again, recorded)
        )
        pd.testing.assert_frame_equal(left_table, right_table)


def test_the_demo_model_can_follow_its_own_recording(tmp_path: Path) -> None:
    """Real weights, its own decisions: the same rounds as the recording's."""
    chosen = [
        "--demo",
        "--scripted",
        str(DEMO_PROFILE),
        "--map",
        "3:3,7:7",
        "--domains",
        "arithmetic",
        "--limit",
        "1",
        "--max-new-tokens",
        "10",
    ]
    more = [
        "--repeats",
        "1",
        "--gammas",
        "0.5",
        "--placements",
        "3",
        "--walks",
        "3",
        "--cap",
        "2",
        "--fixed-drafts",
        "0",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "p"),
    ]
    result = CliRunner().invoke(app, [*chosen, *more])
    assert result.exit_code == 0, result.output
    assert validate(read_profile(tmp_path / "p")).cells["exact"].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "llama-3.1-8b"], "name its profile with --scripted"),
        (["--demo", "--map", "1:2"], "--map is for decisions that another recording made"),
        (["--demo", "--layers", "4"], "--layers is for decisions"),
        (
            ["--scripted", str(DEMO_PROFILE)],
            "name a shape with --shape, or the bundled model with --demo",
        ),
        (["--scripted", str(DEMO_PROFILE), "--demo", "--shape", "llama-160m"], "not both"),
        (
            ["--scripted", str(DEMO_PROFILE), "--demo", "--layers", "4"],
            "the demo model is run whole",
        ),
        (
            ["--scripted", str(DEMO_PROFILE), "--shape", "llama-160m", "--heads", "identity:4"],
            "leave --heads out",
        ),
        (
            ["--scripted", str(DEMO_PROFILE), "--shape", "llama-160m", "--prompts", "x.txt"],
            "leave --prompts out",
        ),
        (["--scripted", str(DEMO_PROFILE), "--shape", "llama-160n"], "no model 'llama-160n'"),
        (
            ["--scripted", str(DEMO_PROFILE), "--shape", "llama-160m", "--layers", "13"],
            r"--layers as 2..12",
        ),
        (["--scripted", str(DEMO_PROFILE), "--shape", "llama-160m"], "in proportion with --map"),
        (
            ["--scripted", str(DEMO_PROFILE), "--shape", "llama-160m", "--map", "3"],
            "wanted --map as DEPTH:DEPTH",
        ),
        (
            [
                "--scripted",
                str(DEMO_PROFILE),
                "--shape",
                "llama-160m",
                "--map",
                "3:2",
                "--dtype",
                "float64",
            ],
            "--dtype float64",
        ),
        (
            [
                "--scripted",
                str(DEMO_PROFILE),
                "--shape",
                "llama-160m",
                "--map",
                "3:2",
                "--temperature",
                "1",
            ],
            "leave --temperature out",
        ),
        (
            ["--scripted", "nowhere", "--shape", "llama-160m", "--map", "3:2"],
            "nowhere does not exist",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_recorded(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in refusal([*arguments, "--device", "cpu", "--out", str(tmp_path / "p")])
    assert not (tmp_path / "p").exists()


def test_a_shape_that_does_not_fit_is_refused_with_smaller_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adadecode.engine.loading.random_model.free_bytes", lambda device: 2**30)
    arguments = [
        "--scripted",
        str(DEMO_PROFILE),
        "--shape",
        "llama-3.1-8b",
        "--map",
        "3:6,7:14",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "p"),
    ]
    message = refusal(arguments)
    assert "1.00 are free on cpu" in message
    assert "--shape llama-160m" in message


def test_a_recording_does_not_go_on_with_another_script(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same profile, its heads elsewhere: other decisions."""
    monkeypatch.setattr(PieceStore, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert CliRunner().invoke(app, options(shape, tmp_path / "p")).exit_code == 130
    assert "holds another recording" in refusal(
        ["--out", str(tmp_path / "p"), "--resume", "--map", "2:1,5:2,8:4"]
    )


@pytest.fixture(scope="module")
def cheaper(shape: str, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """The decisions of full heads, with heads that have a shortlist doing the work."""
    out = tmp_path_factory.mktemp("cheaper") / "p"
    heads = ["--shortlist", "16", "--limit", "1", "--max-new-tokens", "6", "--repeats", "1"]
    result = CliRunner().invoke(app, [*options(shape, out), *heads])
    assert result.exit_code == 0, result.output
    return read_profile(out)


def test_random_heads_cover_no_text(cheaper: Profile) -> None:
    """Nor need the script's tokens be in the model's vocabulary."""
    about = cheaper.manifest["heads"]
    assert (about["form"]["shortlist"], about["coverage"]) == (16, None)


def test_heads_that_were_timed_and_did_not_decide_are_told(
    cheaper: Profile, recorded: Profile
) -> None:
    """Where decisions are those of heads of the same form, nothing is."""
    wanted = "heads shortlist:16 were timed, heads full decided"
    assert [limitation.startswith(wanted) for limitation in cheaper.manifest["limitations"]].count(
        True
    ) == 1
    assert not any("were timed" in limitation for limitation in recorded.manifest["limitations"])


def test_every_command_tells_that_the_timed_heads_would_decide_otherwise(
    cheaper: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly")
    wanted = "full ones: those timed are shortlist:16, and would decide otherwise"
    Console(width=300).print(summary_table(cheaper))
    for arguments in (
        ("validate",),
        ("predict", "--heads", "2", "--gamma", "0.4"),
        ("account", "--heads", "2", "--gamma", "0.4"),
    ):
        assert wanted in " ".join(capsys.readouterr().out.split())
        assert run(arguments[0], cheaper.path, *arguments[1:]) == 0
    assert wanted in " ".join(capsys.readouterr().out.split())
    assert (
        run(
            "report",
            cheaper.path,
            "--out",
            tmp_path / "page.html",
            "--markdown",
            tmp_path / "report.md",
        )
        == 0
    )
    assert wanted in (tmp_path / "report.md").read_text()
