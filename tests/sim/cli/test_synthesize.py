"""``adadecode-sim synthesize`` and ``acceptance``: JSON, tables, exit code 2 for bad input."""

from __future__ import annotations

import json
from itertools import cycle, islice
from pathlib import Path

import pytest

from adadecode.profiles import LatencyTable, Profile, Trace, read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.synthetic.rate_fitting import evaluated
from tests.support.paths import DEMO_PROFILE
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile

HEADS = ["--layers", 8, "--depths", "2,4,6", "--agreement", "0.5,0.7,0.9"]
SMALL = ["--prompts", 2, "--prompt-tokens", 10, "--tokens", 60]
PAPER = [
    "--layers",
    32,
    "--depths",
    "8,16,24",
    "--agreement",
    "0.7,0.85,0.95",
    "--head-cost",
    0.68,
    "--prompts",
    2,
    "--tokens",
    256,
]


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Recorded texts of two domains, and latencies, of 8 layers."""
    return synthetic_profile(
        tmp_path_factory.mktemp("timed") / "profile", outputs=60, prompts=4, contexts=(8, 128)
    )


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, timed: Profile) -> Path:
    """Return a profile without any text."""
    from adadecode.profiles import TABLES, write_profile

    tables = {name: TABLES[name].empty_table() for name in TABLES}
    return write_profile(
        tmp_path_factory.mktemp("imported") / "profile",
        timed.manifest,
        {**tables, "latency": timed.latency},
    ).path


def test_synthesize_gives_what_was_wanted_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes the profile where it says."""
    document = run_json(
        capsys, "synthesize", "--out", tmp_path / "p", *HEADS, *SMALL, "--seed", 5, "--json"
    )
    agreement = {
        row["depth"]: row["asked"] for row in document["rows"] if row["what"] == "agreement"
    }
    assert agreement == {2: 0.5, 4: 0.7, 6: 0.9}
    assert all(row["within"] for row in document["rows"])
    assert document["origin"] == {"options": "given"}
    profile = read_profile(document["path"])
    assert profile.manifest["settings"]["models"] == document["models"]
    assert (profile.manifest["seed"], profile.depths, len(profile.prompts)) == (5, (2, 4, 6), 2)
    assert profile.prompts[["n_prompt", "n_output"]].to_numpy().tolist() == [[10, 60]] * 2


def test_one_number_stands_for_all_heads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run_json(
        capsys,
        "synthesize",
        "--out",
        tmp_path / "p",
        *HEADS[:4],
        "--agreement",
        0.8,
        "--confidence",
        "0.5,0.6,0.7",
        *SMALL,
        "--json",
    )
    assert document["models"]["synthetic"]["agreement"] == [0.8] * 3


def test_confidences_can_be_given_where_right_and_where_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sure = [
        "--confidence-right",
        "0.8,0.9,0.95",
        "--confidence-wrong",
        0.3,
        "--concentration",
        5,
        "--ease",
        0.25,
    ]
    document = run_json(
        capsys, "synthesize", "--out", tmp_path / "p", *HEADS, *sure, *SMALL, "--json"
    )
    wanted = {(row["depth"], row["what"]): row["asked"] for row in document["rows"]}
    assert [wanted[depth, "confidence, right"] for depth in (2, 4, 6)] == pytest.approx(
        [0.8, 0.9, 0.95]
    )
    assert [wanted[depth, "confidence, wrong"] for depth in (2, 4, 6)] == pytest.approx([0.3] * 3)
    model = document["models"]["synthetic"]
    assert sum(model["right"][0]) == pytest.approx(5)
    assert (model["ease"], model["along_text"]) == (0.25, 0.15)


def test_synthesize_draws_a_table_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # so that titles are short, and not wrapped
    assert run("synthesize", "--out", "p", *HEADS, *SMALL) == 0
    out = capsys.readouterr().out
    for words in (
        "p: 2 prompts, 120 output tokens",
        "wanted / drawn",
        "agreement",
        "confidence, wrong",
        "0.700 / 0.",
        "correlations",
        "along text",
    ):
        assert words in out


def test_heads_are_fitted_to_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is given stays as it is (a mean confidence of 0.6), and what is not given is found."""
    given = ["--layers", 8, "--depths", 4, "--confidence", 0.6, "--concentration", 2]
    arguments = ["--rates", "0.2:-:0.5,1:0:0", *given, *SMALL]
    document = run_json(capsys, "synthesize", "--out", tmp_path / "p", *arguments, "--json")
    assert document["origin"]["fitted"] == {"agreement": 1}
    assert [
        (row["gamma"], row["what"], row["informative"]) for row in document["origin"]["rates"]
    ] == [
        (0.2, "rejected", True),
        (1.0, "early", False),
        (1.0, "rejected", False),
    ]
    assert document["origin"]["rates"][0]["got"] == pytest.approx(0.5, abs=0.01)
    share, right, wrong = (row["asked"] for row in document["rows"])
    assert share * right + (1 - share) * wrong == pytest.approx(0.6)
    manifest = read_profile(tmp_path / "p").manifest
    assert manifest["settings"]["origin"] == document["origin"]


def test_a_recorded_trace_is_followed_domain_by_domain(
    timed: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With as many prompts as it holds, as long as they are."""
    document = run_json(
        capsys, "synthesize", "--out", tmp_path / "p", "--like", timed.path, "--json"
    )
    assert document["origin"] == {"like": "synthetic", "digest": timed.manifest["digest"]}
    assert list(document["models"]) == ["arithmetic", "code"]
    again, sizes = read_profile(tmp_path / "p"), ["domain", "n_prompt", "n_output"]
    assert sorted(again.prompts[sizes].itertuples(index=False, name=None)) == sorted(
        timed.prompts[sizes].itertuples(index=False, name=None)
    )
    agreement = Trace.from_profile(timed).agreement().set_index(["domain", "depth"])["agree"]
    for row in document["rows"]:
        if row["what"] == "agreement":
            assert row["asked"] == agreement[row["domain"], row["depth"]]


def test_one_domain_of_a_recorded_trace_can_be_drawn_at_length(
    timed: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lengths of its prompts in turn, unless they are given."""
    arguments = ["--like", timed.path, "--domain", "code", "--prompts", 5, "--prompt-tokens", 9]
    run_json(capsys, "synthesize", "--out", tmp_path / "p", *arguments, "--json")
    rows = read_profile(tmp_path / "p").prompts
    assert set(rows["domain"]) == {"code"}
    recorded = timed.prompts.loc[timed.prompts["domain"] == "code", "n_output"]
    assert rows["n_output"].tolist() == list(islice(cycle(recorded), 5))
    assert rows["n_prompt"].tolist() == [9] * 5


@pytest.mark.skipif(not DEMO_PROFILE.is_dir(), reason="needs the committed recording")
def test_designs_do_on_a_trace_like_the_demo_models_what_they_do_on_the_recorded_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As near as four prompts can show, compared with 24 synthetic ones of the same lengths."""
    run_json(
        capsys,
        "synthesize",
        "--out",
        tmp_path / "p",
        "--like",
        DEMO_PROFILE,
        "--domain",
        "code",
        "--prompts",
        24,
        "--json",
    )
    recorded, drawn = read_profile(DEMO_PROFILE), read_profile(tmp_path / "p")
    latency = LatencyTable.from_samples(recorded.latency, recorded.n_layers)
    designs = [
        Design.of(gamma=gamma, placement=heads)
        for gamma, heads in ((0.0, (4,)), (0.5, (3, 7)), (0.75, (3, 7)), (0.6, (3, 6, 10)))
    ]
    trace = Trace.from_profile(recorded)
    rows = evaluated(
        trace,
        latency,
        designs,
        [prompt for prompt in trace.prompts if trace.domain(prompt) == "code"],
    )
    again = evaluated(Trace.from_profile(drawn), latency, designs)
    for figure in ("early_rate", "reject_rate", "speedup"):
        assert again[figure].tolist() == pytest.approx(rows[figure].tolist(), abs=0.08), figure


def test_a_synthetic_text_is_predicted_on_recorded_latencies(
    timed: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As hypothetical, though the depths fit; no note is about number formats of the text."""
    run_json(capsys, "synthesize", "--out", tmp_path / "p", *HEADS, *SMALL, "--json")
    document = run_json(
        capsys, "predict", timed.path, "--trace", tmp_path / "p", "--gamma", 0.3, "--json"
    )
    assert (document["hypothetical"], document["modelled_share"], document["modelled_error"]) == (
        True,
        0,
        0,
    )
    assert document["notes"] == [
        f"hypothetical: the text of {tmp_path / 'p'} is synthetic, no model said it"
    ]
    assert document["tokens"] == 120


def test_a_synthetic_text_is_swept_on_recorded_latencies(
    timed: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sweep is hypothetical, too."""
    run_json(capsys, "synthesize", "--out", tmp_path / "p", *HEADS, *SMALL, "--json")
    few = ["--gammas", "0.3,0.6", "--max-heads", 1, "--policies", "adadecode", "--caps", "5"]
    assert (
        run(
            "sweep",
            timed.path,
            "--trace",
            tmp_path / "p",
            *few,
            "--out",
            tmp_path / "sweep",
            "--json",
        )
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["hypothetical"] is True
    assert any("is synthetic, no model said it" in note for note in document["notes"])


def test_a_synthetic_text_alone_predicts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no latencies."""
    run_json(capsys, "synthesize", "--out", tmp_path / "p", *HEADS, *SMALL, "--json")
    assert run("predict", tmp_path / "p") == 2
    assert "wanted latencies, the table holds none" in capsys.readouterr().err


def test_acceptance_tells_the_agreement_that_a_speedup_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All depths' moved together; the time per token is in layers, as the costs are."""
    document = run_json(capsys, "acceptance", "--speedup", 1.5, *PAPER, "--json")
    assert (document["speedup"], document["depths"], document["agreement"]) == (
        1.5,
        [8, 16, 24],
        [0.7, 0.85, 0.95],
    )
    low, high = document["achievable"]
    assert low < document["now"]["speedup"] < 1.5 < high
    assert document["then"]["speedup"] == pytest.approx(1.5, abs=0.02)
    assert document["then"]["tpot_layers"] == pytest.approx(
        32.68 / 1.5, rel=0.02
    )  # vanilla: 32 layers and a verification of 0.68
    assert all(
        needed > given
        for needed, given in zip(document["needed_agreement"], document["agreement"], strict=True)
    )


def test_acceptance_takes_the_best_of_several_gammas(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(
        capsys,
        "acceptance",
        "--speedup",
        1.5,
        *PAPER,
        "--gammas",
        "0,1,0.75",
        "--heads",
        "8,16",
        "--json",
    )
    assert document["now"]["design"].startswith("adadecode 8/16 gamma")
    single = [
        run_json(
            capsys,
            "acceptance",
            "--speedup",
            9,
            *PAPER,
            "--gammas",
            gamma,
            "--heads",
            "8,16",
            "--json",
        )
        for gamma in ("0", "0.75")
    ]
    assert document["now"]["speedup"] == max(1.0, *(one["now"]["speedup"] for one in single))


def test_a_speedup_out_of_reach_comes_with_the_range(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer is the range within reach, not an error."""
    document = run_json(capsys, "acceptance", "--speedup", 9, *PAPER, "--json")
    assert (document["shift"], document["needed_agreement"], document["then"]) == (None, None, None)
    assert document["achievable"][1] < 9
    assert run("acceptance", "--speedup", 9, *PAPER) == 0
    out = capsys.readouterr().out
    assert "9x cannot be had; agreement alone gives" in out
    assert "needed" not in out


def test_acceptance_draws_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("acceptance", "--speedup", 1.4, *PAPER, "--heads", "16") == 0
    out = capsys.readouterr().out
    for words in (
        "1.4x needs; agreement alone gives",
        "as given",
        "needed",
        "agreement at depth 16",
        "adadecode 16",
    ):
        assert words in out
    assert "depth 8" not in out


def test_acceptance_takes_latencies_of_a_profile(
    timed: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then times are in seconds, and prompts as long as that profile's."""
    document = run_json(
        capsys,
        "acceptance",
        "--speedup",
        1.0,
        *HEADS,
        "--latency",
        timed.path,
        "--prompts",
        1,
        "--json",
    )
    assert document["now"]["tpot_s"] < 1
    assert document["origin"] == {"options": "given"}
    lone = run_json(
        capsys, "acceptance", "--speedup", 1.0, "--like", timed.path, "--prompts", 1, "--json"
    )
    assert lone["origin"]["digest"] == timed.manifest["digest"]
    assert lone["now"]["tpot_s"] < 1


def test_what_a_fit_proves_comes_before_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to fit here."""
    given = [*HEADS, "--confidence", 0.6, "--concentration", 2, "--head-cost", 0.5, *SMALL]
    assert run("acceptance", "--speedup", 1.1, "--rates", "0.5:0.8:0.2", *given) == 0
    out = capsys.readouterr().out
    assert out.index("0 numbers fitted to 2 figures") < out.index("agreement alone gives")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "wanted --layers, --depths and --agreement, like --layers 32 --depths 8,16,24"),
        (["--layers", "8"], "wanted --layers, --depths and --agreement"),
        (
            ["--layers", "8", "--depths", "2,x", "--agreement", "0.5"],
            "wanted --depths as whole numbers separated by commas, like 4,8, got '2,x'",
        ),
        (
            ["--layers", "8", "--depths", "", "--agreement", "0.5"],
            "wanted --depths as whole numbers separated by commas, like 4,8, got ''",
        ),
        (
            ["--layers", "8", "--depths", "6,2", "--rates", "0.5:0.9:0.1"],
            "wanted rising depths of heads within 1..7, got [6, 2]",
        ),
        (
            ["--layers", "0", "--depths", "2", "--rates", "0.5:0.9:0.1"],
            "--layers as a whole number from 2",
        ),
        (
            ["--layers", "8", "--depths", "2,4"],
            "wanted --agreement by depth, like 0.6,0.75,0.9, or --rates",
        ),
        (
            ["--layers", "8", "--depths", "2,4,6", "--agreement", "0.5,0.6"],
            "one for each of 3 depths, as --agreement, got 2",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "50"],
            "an agreement is a share in 0..1, got 50",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--gate-quality", "2"],
            "the quality of a gate is a share in 0.5..1, got 2",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--gate-quality", "0.4"],
            "the quality of a gate is a share in 0.5..1, got 0.4",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--confidence", "1"],
            "a mean confidence lies between 0 and 1, got 1",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--concentration", "0"],
            "wanted --concentration as a number above 0, got 0",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--along-text", "1"],
            "wanted --along-text as a number below 1, got 1",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--confidence-right", "0.8"],
            "wanted both --confidence-right and",
        ),
        (
            [
                "--layers",
                "8",
                "--depths",
                "2",
                "--agreement",
                "0.5",
                *("--confidence-right", "0.8", "--confidence-wrong", "0.3"),
                "--confidence",
                "0.5",
            ],
            "and no --confidence, or --confidence alone",
        ),
        (
            ["--layers", "8", "--depths", "2", "--rates", "0.5:0.9"],
            "wanted --rates as GAMMA:EARLY:REJECTED between commas",
        ),
        (
            ["--layers", "8", "--depths", "2", "--rates", "-:0.9:0.1"],
            "wanted --rates as GAMMA:EARLY:REJECTED between commas",
        ),
        (
            ["--layers", "8", "--depths", "2", "--rates", "0.5:90:10"],
            "a rate is a share in 0..1, got 90",
        ),
        (
            ["--layers", "8", "--depths", "2", "--rates", "0.5:-:-", "--agreement", "0.5"],
            "wanted a rate or more to fit heads to, got none",
        ),
        (
            ["--layers", "8", "--depths", "2", "--rates", "0.5:0.9:0.1"],
            "3 numbers (agreement, confidence, concentration) cannot be fitted to 2",
        ),
        (
            [
                "--layers",
                "8",
                "--depths",
                "2",
                "--rates",
                "0.5:0.9:0.1",
                "--confidence-right",
                "0.9",
            ],
            "--rates fits one mean confidence by depth",
        ),
        (
            ["--layers", "8", "--depths", "2", "--agreement", "0.5", "--domain", "code"],
            "--domain chooses among the domains of --like",
        ),
        (["--like", "nowhere"], "nowhere"),
        (
            ["--like", "TIMED", "--ease", "0.5"],
            "--like takes every parameter from the recorded trace",
        ),
        (
            ["--like", "TIMED", "--agreement", "0.5"],
            "--like takes every parameter from the recorded trace",
        ),
        (["--like", "TIMED", "--domain", "poetry"], "no prompt of the domain 'poetry' in"),
        (["--like", "IMPORTED"], "holds latencies alone, and no text to be like"),
    ],
)
def test_heads_that_cannot_be_are_refused(
    timed: Profile,
    imported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """One message, exit code 2, nothing on stdout and nothing written."""
    places = {"TIMED": timed.path, "IMPORTED": imported}
    assert (
        run(
            "synthesize",
            "--out",
            tmp_path / "p",
            *(places.get(word, word) for word in arguments),
            "--json",
        )
        == 2
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert not (tmp_path / "p").exists()


def test_a_directory_in_use_is_refused(timed: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything is fitted."""
    assert (
        run(
            "synthesize", "--out", timed.path, "--layers", 8, "--depths", "2", "--rates", "nonsense"
        )
        == 2
    )
    assert "exists and is not an empty directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "wanted what a head costs: --head-cost 0.7 (in layers), or --latency PROFILE"),
        (["--verify-cost", "1"], "wanted what a head costs"),
        (["--head-cost", "-1"], "wanted --head-cost as a finite number from 0 on, got -1"),
        (
            ["--head-cost", "0.5", "--latency", "TIMED"],
            "--head-cost and --verify-cost stand for latencies",
        ),
        (
            ["--latency", "TIMED", "--layers", "16"],
            "was timed on 8 layers, the heads are of 16: give the same --layers",
        ),
        (["--latency", "TIMED", "--depths", "2,5,6"], "no latency for the head at depth 5"),
        (["--latency", "TIMED", "--tokens", "400"], "no latency for"),
        (["--latency", "WRITTEN"], "wanted latencies, the table holds none"),
        (["--head-cost", "0.5", "--heads", "3"], "no head at depth 3 (trained: 2, 4, 6)"),
        (
            ["--head-cost", "0.5", "--gammas", ""],
            "wanted --gammas as numbers separated by commas, like 0.5,0.75, got ''",
        ),
        (["--head-cost", "0.5", "--gammas", "2"], "gamma is a probability in [0, 1], got 2"),
        (["--head-cost", "0.5", "--cap", "0"], "the cap is at least 1 draft a round, got 0"),
        (["--head-cost", "0.5", "--speedup", "-1"], "wanted --speedup as a number above 0, got -1"),
    ],
)
def test_what_has_no_answer_is_refused(
    timed: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """One message, exit code 2, nothing on stdout."""
    if "WRITTEN" in arguments:
        run_json(capsys, "synthesize", "--out", tmp_path / "p", *HEADS, *SMALL, "--json")
    places = {"TIMED": timed.path, "WRITTEN": tmp_path / "p"}
    given = [places.get(word, word) for word in arguments]
    assert run("acceptance", "--speedup", 1.2, *HEADS, "--prompts", 2, *given, "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
