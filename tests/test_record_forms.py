"""A recording with heads of another form: what its manifest tells, and that its own replay is exact."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from engine.profile_cli import app
from profiles.store import Profile, read_profile
from sim.compare import compare
from sim.head_form import HeadForm
from sim.origin import form_of
from tests.models import tiny_model


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """By the command, with a tiny model; tokens 5 to 34 are counted, rising, in a file."""
    folder = tmp_path_factory.mktemp("forms")
    tiny_model("llama", torch.float32).save_pretrained(folder / "model")
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, 97)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>").save_pretrained(folder / "model")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"w{i} w{i + 1}", "domain": "d"}) + "\n" for i in (10, 20)))
    (folder / "texts.txt").write_text(" ".join(f"w{i}" for i in range(5, 35)))
    options = ["--model", folder / "model", "--heads", "identity:2,4", "--prompts", folder / "prompts.jsonl", "--out", folder / "p"]
    options += ["--max-new-tokens", "12", "--gammas", "0.05", "--placements", "2;2,4", "--repeats", "1"]
    options += ["--shortlist", "20", "--head-dtype", "int8", "--shortlist-from", folder / "texts.txt"]
    done = CliRunner().invoke(app, [str(option) for option in options])
    assert done.exit_code == 0, done.output
    return read_profile(folder / "p")


def test_the_manifest_tells_the_form_and_what_it_loses(recorded: Profile) -> None:
    """The end of a text and 19 counted tokens."""
    told = recorded.manifest["heads"]
    assert form_of(recorded) == HeadForm(shortlist=20, dtype="int8")
    assert (told["form"]["tokens"], told["form"]["product"]) == ([2, *range(5, 24)], "weight-only")
    final = recorded.trace[recorded.trace["depth"] == 6]["token"]
    assert told["coverage"]["outside"] == pytest.approx((~final.isin([2, *range(5, 24)])).mean())
    said = recorded.trace[recorded.trace["depth"] == 4]
    assert told["coverage"]["formed"][1] == pytest.approx(said["agrees"].mean())
    assert told["coverage"]["outputs"] == len(said)


def test_heads_say_nothing_outside(recorded: Profile) -> None:
    """Along the text and on branches; each is timed."""
    held = {2, *range(5, 24)}
    assert set(recorded.trace[recorded.trace["depth"] < 6]["token"]) <= held
    assert set(recorded.branches["token"]) <= held
    assert set(recorded.latency[recorded.latency["kind"] == "head"]["layer"]) == {2, 4}


def test_its_own_replay_is_exact(recorded: Profile) -> None:
    """Every round of every design, as of any recording."""
    found = compare(recorded)
    assert found.holds
    assert found.cells["exact"].dropna().astype(bool).all()
    assert not found.cells["exact"].dropna().empty
