"""A shared copy: no text, no names, the same figures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import adadecode.sim
from adadecode.profiles import Profile, read_profile
from adadecode.profiles.catalog.recorded import recorded_shape
from adadecode.profiles.columns import COLUMNS
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.sim.cli import share as command
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.sharing import trials as trials_module
from adadecode.sim.sharing.manifest import LOCAL, baseline_name, public_name, shared_manifest
from adadecode.sim.sharing.share import NOT_RUN, share
from adadecode.sim.sharing.stand_ins import StandIns, without_tokens
from adadecode.sim.sharing.trials import Trial, _compared, try_copy
from adadecode.sim.validation.tiers import validate
from tests.support.handmade import recorded_profile
from tests.support.paths import DEMO_PROFILE, ROOT
from tests.support.sim_command import run, run_json
from tests.support.tampering import edit_manifest

PRIVATE = "/home/ada/projects/moonshot"
"""What must not be found in any copy."""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A recording that has the secret wherever text can be."""
    path = tmp_path_factory.mktemp("share") / "moonshot"
    made = recorded_profile(path)

    def edit(manifest: dict[str, Any]) -> None:
        manifest["name"] = "moonshot"
        manifest["created"] = "2026-11-21T09:57:21+00:00"
        manifest["model"] |= {
            "name": PRIVATE,
            "config": {"_name_or_path": PRIVATE, "vocab_size": 50},
            "origin": {
                "format": "gguf",
                "packed_as": "q4_1",
                "file": f"{PRIVATE}.gguf",
                "adapter": PRIVATE,
            },
        }
        manifest["heads"] |= {"name": f"{PRIVATE}/heads"}
        host = {"cpu": "AMD EPYC", "os": f"Linux-6.1-{PRIVATE}", "python": "3.11", "cores": 2}
        manifest["hardware"] = {"device": "cpu", "host": host, "owner": PRIVATE}
        manifest["software"] = {"torch": "2.11.0", "path": PRIVATE}
        manifest["settings"] = {
            "prompts": PRIVATE,
            "repeats": 1,
            "gammas": "0.5,0.9",
            "stop": ["ada"],
        }
        manifest["prompts"] |= {"salt": "ab" * 16}
        manifest["limitations"] = [f"scripted by {PRIVATE}", "greedy decoding"]
        manifest["later"] = {"notes": PRIVATE}

    edit_manifest(path, edit)
    return read_profile(made.path)


@pytest.fixture(scope="module")
def copy(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return share(profile, tmp_path_factory.mktemp("copy") / "given")


def test_the_copy_holds_no_name_path_or_digest(profile: Profile, copy: Profile) -> None:
    text = json.dumps(copy.manifest)
    private = {PRIVATE, "moonshot", '"stop"', "salt", "Linux", "09:57"}
    assert not [one for one in private if one in text]
    assert copy.manifest["prompts"]["domains"] == ["domain 1", "domain 2"]
    assert copy.manifest["created"] == "2026-11-21"
    assert copy.manifest["settings"] == {"repeats": 1, "gammas": "0.5,0.9"}
    assert copy.manifest["hardware"] == {"device": "cpu", "host": {"cpu": "AMD EPYC", "cores": 2}}
    assert copy.manifest["software"] == {"torch": "2.11.0"}
    assert copy.manifest["limitations"][1:] == ["scripted by …", "greedy decoding"]
    assert set(copy.prompts["sha256"]) == {""}
    assert set(copy.prompts["domain"]) == {"domain 1", "domain 2"}
    for name in ("trace", "branches", "prompts", "runs", "rounds", "works"):
        assert PRIVATE not in getattr(copy, name).to_csv()


def test_the_copy_says_what_weights_were_unpacked_from(copy: Profile) -> None:
    """By their format alone: a file's name and an adapter's stay at home."""
    assert copy.manifest["model"]["origin"] == {"format": "gguf", "packed_as": "q4_1"}


def test_no_token_is_known_again(profile: Profile, copy: Profile) -> None:
    """Each stand-in stands at one place, but for those of the end tokens."""
    trace = copy.trace[~copy.trace["token"].isin(copy.manifest["eos_token_ids"])]
    places = trace.groupby("token")[["prompt", "output"]].nunique()
    assert (places == 1).all(axis=None)
    assert copy.manifest["eos_token_ids"] == list(range(len(profile.manifest["eos_token_ids"])))
    assert not set(profile.trace["token"]) <= set(copy.trace["token"])


def test_what_is_the_same_at_a_place_stays_the_same(profile: Profile, copy: Profile) -> None:
    """And what differs there still differs: so replays, and trust, are the recording's."""
    for one, other in (profile.trace, copy.trace), (profile.branches, copy.branches):
        pairs = pd.DataFrame({"before": one["token"], "after": other["token"]})
        keys = [one["prompt"], one["output"]]
        if "path" in one:
            keys.append(one["path"].map(len))
        ends = pairs["before"].isin(profile.manifest["eos_token_ids"])
        groups = pairs[~ends].groupby([key[~ends] for key in keys])
        assert all(
            len(part.drop_duplicates()) == part["before"].nunique() == part["after"].nunique()
            for _, part in groups
        )
    before, after = validate(profile), validate(copy)
    pd.testing.assert_frame_equal(before.cells, after.cells)
    assert before.to_dict() == after.to_dict()
    assert before.trust == after.trust


def test_the_demo_recording_gives_the_same_figures_without_its_text(tmp_path: Path) -> None:
    recording = read_profile(DEMO_PROFILE)
    copy = adadecode.sim.share(recording, tmp_path / "copy")
    before, after = validate(recording), validate(copy)
    assert before.to_dict() == after.to_dict()
    assert after.holds
    assert after.trust.trusted == before.trust.trusted


def test_what_still_works_is_found_by_trying(profile: Profile, copy: Profile) -> None:
    trials = {trial.what: trial for trial in try_copy(profile, copy)}
    same = [what for what, trial in trials.items() if trial.outcome == "the same figures"]
    assert "replay the measured runs, and trust (validate)" in same
    assert "predict the designs that were run (predict)" in same
    assert "draw texts like this one (synthesize --like)" in same
    assert not trials["predict heads with a shortlist (--shortlist)"].works


def test_a_damaged_copy_does_not_pass_the_trials(profile: Profile, copy: Profile) -> None:
    """Other confidences, one text replaced: the figures differ, and the trials say so."""
    wrong = replace(copy, trace=copy.trace.assign(confidence=0.99))
    outcomes = {trial.what: trial.outcome for trial in try_copy(profile, wrong)}
    assert "other figures" in outcomes["replay the measured runs, and trust (validate)"]


def test_a_shortlist_of_stand_ins_is_refused(copy: Profile) -> None:
    options = ScenarioOptions(
        device="h100-sxm", model="llama-3.1-8b", form=HeadForm(shortlist=64), source=None
    )
    with pytest.raises(HeadsError, match="was shared without its text"):
        find_scenario(None, options, trace=copy, heads_at={2: 8, 4: 16, 6: 24}, cap=5)


def test_a_copy_tells_no_tokens_of_prompts_and_no_order_of_tokens(
    profile: Profile, tmp_path: Path
) -> None:
    """Times of other forms of heads stay."""
    tokens = pd.Series([(5, 7)] * len(profile.prompts), index=profile.prompts.index, dtype=object)
    rows = [{"form": "int8", "depth": profile.depths[0], "reuse": 2, "repeat": 0, "seconds": 1e-3}]
    ranking = {"source": "mine.txt", "vocabulary": 32000, "counted": [5, 7]}
    lists = {"ranking": ranking, "form": {"shortlist": 2, "tokens": [5, 7]}}
    told = replace(
        profile,
        prompts=profile.prompts.assign(in_prompt=tokens),
        head_forms=pd.DataFrame(rows),
        manifest={**profile.manifest, "heads": {**profile.manifest["heads"], **lists}},
    )
    copy = share(told, tmp_path / "copy")
    assert not copy.prompts["in_prompt"].map(len).any()
    assert "ranking" not in copy.manifest["heads"]
    assert copy.manifest["heads"]["form"] == {"shortlist": 2}
    assert "mine.txt" not in json.dumps(copy.manifest)
    assert copy.head_forms["seconds"].tolist() == [1e-3]


def test_the_guide_names_all_that_holds_tokens() -> None:
    """Every column of token ids, by itself or by its table, and both lists of the manifest."""
    guide = (ROOT / "docs" / "guides" / "sharing.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall("`([a-z0-9_.]+)`", row)}
    held = {
        (table, column.name)
        for table, about in COLUMNS.items()
        for column in about.columns
        if column.unit.startswith("token id")
    }
    assert ("prompts", "in_prompt") in held
    told = named - {"prompts"}  # of which each column is named by itself
    assert not [one for one in held if not told & {one[0], ".".join(one)}]
    assert {"heads.ranking", "heads.form.tokens"} <= named


def test_domains_may_keep_their_names(profile: Profile, tmp_path: Path) -> None:
    kept = share(profile, tmp_path / "kept", keep_domains=True)
    assert kept.prompts["domain"].tolist() == profile.prompts["domain"].tolist()


def test_nothing_is_written_over(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not an empty directory"):
        share(profile, tmp_path / "there")
    assert (tmp_path / "there" / "mine.txt").read_text() == "mine"


def test_the_command_prints_what_still_works(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("share", profile.path, "--out", tmp_path / "copy") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the same figures" in out
    assert "read its manifest.json before you give it away" in out
    monkeypatch.setattr(command, "try_copy", lambda *_: [Trial("it", works=True, outcome="so")])
    document = run_json(capsys, "share", profile.path, "--out", tmp_path / "again", "--json")
    assert document["digest"] == read_profile(tmp_path / "again").manifest["digest"]
    assert document["trials"] == [{"what": "it", "works": True, "outcome": "so"}]


def test_a_sampled_recording_keeps_its_ends(profile: Profile) -> None:
    draws = pd.DataFrame({"token": [3, 50, 3, -1]})
    manifest: Mapping[str, Any] = {
        **profile.manifest, "sampling": {"temperature": 1.0}, "eos_token_ids": [50],
    }  # fmt: skip
    tables, eos = without_tokens(replace(profile, manifest=dict(manifest), draws=draws))
    tokens = tables["draws"]["token"].tolist()
    assert eos == [0]
    assert tokens[1] == 0
    assert tokens[3] == -1
    assert tokens[0] != tokens[2]


def test_baselines_lose_paths_and_messages(profile: Profile, tmp_path: Path) -> None:
    rows = [
        {"name": name, "prompt": 0, "repeat": -1, "n_tokens": n, "n_same": n, "exact": bool(n),
         "n_first": n and 1, "prefill_s": s, "decode_s": s, "compile_s": 0.0,
         "energy_j": float("nan"), "error": error}
        for name, n, s, error in (
            ("lookup:10", 5, 0.1, ""), (f"draft:{PRIVATE}", 0, float("nan"), f"no {PRIVATE}"),
        )
    ]  # fmt: skip
    copy = share(replace(profile, baselines=pd.DataFrame(rows)), tmp_path / "copy")
    assert copy.baselines["name"].tolist() == ["lookup:10", f"draft:{LOCAL}"]
    assert copy.baselines["error"].tolist() == ["", NOT_RUN]


@pytest.mark.parametrize(
    ("name", "revision", "public"),
    [
        ("meta-llama/Llama-3.1-8B", "0e9e39f249a16976918f6564b8830bc894c89659", True),
        ("gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", True),
        ("meta-llama/Llama-3.1-8B", None, False),
        ("acme-moonshot/heads", None, False),
        ("acme-secret-7b", None, False),
        ("acme-secret-7b", "main", False),
        ("adadecode demo model", None, True),
        ("adadecode demo heads", None, True),
        ("llama-3.1-8b", None, True),
        *((path, "0e9e39f2", False) for path in ("/data/llama", "./out/heads", "~/heads", "a/b/c")),
        *((path, "0e9e39f2", False) for path in ("C:\\\\models\\\\x", "file:/x", "../x", "a/b/")),
    ],
)
def test_a_name_stays_only_where_it_is_surely_public(
    name: str, revision: str | None, public: bool
) -> None:
    """A name on a hub has a revision; without one it may be a folder's."""
    assert public_name(name, revision) == (name if public else LOCAL)
    assert public_name(None) is None


def test_the_name_of_a_baseline_keeps_its_numbers() -> None:
    assert baseline_name("lookup:10") == "lookup:10"
    assert baseline_name("early-exit:4") == "early-exit:4"
    assert baseline_name("generate") == "generate"
    assert baseline_name("draft:/x/y") == f"draft:{LOCAL}"
    assert baseline_name("draft:secretlab/draft") == f"draft:{LOCAL}"
    assert baseline_name("assisted:secretlab/draft") == LOCAL
    assert baseline_name("/home/ada") == LOCAL


SECRET = "moonshot"  # noqa: S105  of a project

PLANTED = (7431255, SECRET, [7431255], {SECRET: 7431255}, f"1.0-{SECRET}", f"2.13.0+{SECRET}")


def planted(value: object) -> object:
    """Return a document with unknown keys in every object, at every depth."""
    if isinstance(value, dict):
        extra = {f"{SECRET}_{number}": item for number, item in enumerate(PLANTED)}
        return {**{key: planted(item) for key, item in value.items()}, **extra}
    if isinstance(value, list):
        return [planted(item) for item in value]
    return value


def test_keys_that_are_not_known_stay_at_home_at_every_depth(profile: Profile) -> None:
    """Numbers and words that look like versions too, and the names of the keys."""
    whole = json.loads(Path(DEMO_PROFILE, "manifest.json").read_text())
    whole["model"] |= {"name": f"{SECRET}/x", "class": f"{SECRET}ForCausalLM"}
    whole["model"]["config"] |= {
        "label2id": {SECRET: 0}, "task_specific_params": {SECRET: {"max_length": 3}},
        "quantization_config": {"quant_method": "gptq", "bits": 4}, "_name_or_path": SECRET,
        "text_config": {"hidden_size": 4, "model_type": SECRET},
    }  # fmt: skip
    whole["hardware"]["before"]["gpu"] = {"name": "NVIDIA L4", "uuid": SECRET, "memory_bytes": 1}
    whole["hardware"]["placing"] = {"processes": 2, "devices": {"0": 3, "cpu": 1, SECRET: 2}}
    whole |= {
        "sampling": {"temperature": 1.0}, "conditions": {"load": [1.0]},
        "baselines": {f"assisted:{SECRET}/draft": {"n_parameters": 5}, SECRET: {}},
        "scripted": {"profile": SECRET, "model": SECRET, "n_layers": 4, "map": {"1": 2}},
    }  # fmt: skip
    whole["heads"]["coverage"] = {"outputs": 5, "outside": 0.1}
    said = ("attention", "timing", "graphs", "weights", "numerics")
    whole |= dict.fromkeys(said, f"host clock of {SECRET}")
    whole["settings"]["designs"] += [f"adadecode {SECRET}"]
    made = shared_manifest(planted(whole), name="n", eos=[0], domains={})  # type: ignore[arg-type]
    text = json.dumps(made)
    assert SECRET not in text
    assert "7431255" not in text
    assert made["hardware"]["placing"] == {"processes": 2, "devices": {"0": 3, "cpu": 1}}
    assert made["hardware"]["before"]["gpu"] == {"name": "NVIDIA L4", "memory_bytes": 1}
    assert made["conditions"] == {"load": [1.0]}
    assert made["model"]["config"]["quantization_config"] == {"quant_method": "gptq", "bits": 4}


def test_what_readers_need_of_the_demo_is_kept() -> None:
    whole = json.loads(Path(DEMO_PROFILE, "manifest.json").read_text())
    made = shared_manifest(whole, name="n", eos=[0], domains={})
    assert recorded_shape(made) == recorded_shape(whole)
    for key in ("n_layers", "class", "name", "n_parameters", "hidden_size"):
        assert made["model"][key] == whole["model"][key]
    assert made["heads"] == whole["heads"]
    assert made["settings"]["designs"] == whole["settings"]["designs"]
    host = whole["hardware"]["before"]["host"]
    kept = {key: value for key, value in host.items() if key not in {"os", "python"}}
    assert made["hardware"]["before"]["host"] == kept
    for key in ("software", "attention", "graphs", "dtype", "seed", "max_new_tokens"):
        assert made[key] == whole[key]
    assert made["limitations"][1:] == whole["limitations"]


def test_a_model_that_a_hub_names_is_named_and_one_that_it_does_not_is_not() -> None:
    whole = json.loads(Path(DEMO_PROFILE, "manifest.json").read_text())
    whole["model"] |= {"name": "acme/moon-7b", "revision": None, "class": "MoonForCausalLM"}
    whole["model"]["config"] |= {"model_type": "moon", "architectures": ["MoonForCausalLM"]}
    made = shared_manifest(whole, name="n", eos=[0], domains={})
    assert "moon" not in json.dumps(made).lower()
    whole["model"]["revision"] = "ab12" * 10
    found = shared_manifest(whole, name="n", eos=[0], domains={})["model"]
    assert found["name"] == "acme/moon-7b"
    assert (found["class"], found["config"]["model_type"]) == ("MoonForCausalLM", "moon")


def test_figures_are_compared_by_design_and_never_infinite() -> None:
    """Rows that only one of both has, and numbers that are 0 in one, compare with nothing else."""
    wanted = {("speedup", "a"): 2.0, ("early_rate", "a"): 0.0, ("speedup", "b"): 1.5}
    got = {("speedup", "a"): 1.99, ("early_rate", "a"): 0.001, ("speedup", "c"): 900.0}
    trial = _compared("it", wanted, got)
    assert trial.works
    assert "by up to 0.50%, and other designs were refined" in trial.outcome
    far = _compared("it", wanted, {("speedup", "a"): 0.0, ("early_rate", "a"): 0.0})
    assert not far.works
    assert "by up to 100" in far.outcome
    assert not _compared("it", wanted, {("speedup", "c"): 1.0}).works
    assert not _compared("it", wanted, {("speedup", "a"): None}).works


@pytest.mark.slow
def test_the_trials_of_the_demo_find_it_close(tmp_path: Path) -> None:
    recording = read_profile(DEMO_PROFILE)
    trials = try_copy(recording, share(recording, tmp_path / "copy"))
    swept = next(trial for trial in trials if "sweep" in trial.what)
    assert swept.works
    assert "inf" not in swept.outcome


def test_an_interrupt_while_the_copy_is_tried_says_that_it_is_complete(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> list[Trial]:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "try_copy", interrupted)
    out = tmp_path / "copy"
    assert run("share", profile.path, "--out", out) == 130
    error = capsys.readouterr().err
    assert f"interrupted: the copy in {out} is complete" in error
    assert "nothing was written" not in error
    assert read_profile(out).manifest["shared"]


def test_trials_are_left_out_where_asked_and_shown_where_not(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> list[Trial]:
        raise AssertionError

    monkeypatch.setattr(trials_module, "_WAYS", {"it": lambda _: {}, "that": lambda _: {}})
    assert run("share", profile.path, "--out", tmp_path / "tried") == 0
    assert "2 of 2 trials (100%)" in capsys.readouterr().err
    monkeypatch.setattr(command, "try_copy", refuse)
    document = run_json(
        capsys, "share", profile.path, "--out", tmp_path / "copy", "--no-try", "--json"
    )
    assert document["trials"] == []
    assert run("share", profile.path, "--out", tmp_path / "other", "--no-try") == 0
    assert "what still works" not in capsys.readouterr().out


def test_stand_ins_are_the_same_for_the_same_place_and_token_only() -> None:
    made = StandIns.of([7])
    one = made.at((0, 1), 5)
    assert made.at((0, 1), 5) == one
    assert len({one, made.at((0, 2), 5), made.at((1, 1), 5), made.at((0, 1), 6), 0}) == 5
    assert made.at((0, 1), 7) == made.at((3, 9), 7) == 0


def test_a_key_that_nobody_listed_stays_at_home(profile: Profile) -> None:
    found = shared_manifest({**profile.manifest, "secret": 1}, name="n", eos=[], domains={})
    assert "secret" not in found
    assert "later" not in found
