"""SmolLM2 with the heads and prompts that come with this program, wherever a model is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from adadecode.engine import AdaDecoder, Demo, load_smollm2
from adadecode.engine.cli.flips import app as flips
from adadecode.engine.cli.profile import app as profile
from adadecode.engine.cli.train import app as train
from adadecode.engine.demo import SMOLLM2, bundle
from adadecode.engine.loading.prompts import encode
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import read_profile
from tests.support.smollm2 import needs_smollm2


@pytest.fixture(scope="module")
def smollm2() -> Demo:
    return load_smollm2()


@needs_smollm2
def test_it_has_heads_at_six_depths_and_prompts_of_four_kinds(smollm2: Demo) -> None:
    assert len(smollm2.heads.depths) == 6
    assert smollm2.domains == ["chat", "arithmetic", "code", "summary"]
    assert [len(texts) for texts in smollm2.prompts.values()] == [4, 4, 4, 4]
    asked = smollm2.prompts["chat"][0]
    assert asked.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert asked.endswith("<|im_end|>\n<|im_start|>assistant\n")


@needs_smollm2
def test_its_text_is_that_of_generate_for_designs_of_all_heads(smollm2: Demo) -> None:
    decoder = AdaDecoder(smollm2.model, smollm2.heads)
    ids = encode(smollm2.tokenizer, smollm2.of("arithmetic")[0])
    with torch.no_grad():
        whole = smollm2.model.generate(ids, max_new_tokens=12, do_sample=False)
    told = whole[0, ids.shape[1] :].tolist()
    for placement in (smollm2.heads.depths[-1:], smollm2.heads.depths):
        done = decoder.generate(ids, 12, gamma=0.3, placement=placement)
        assert done.tokens == told
        assert any(one.accepted for one in done.rounds)


@needs_smollm2
def test_deeper_heads_agree_with_the_last_layer_more_often(smollm2: Demo) -> None:
    agreement = [row["agreement"] for row in smollm2.heads.metrics or ()]
    assert agreement == sorted(agreement)
    assert agreement[-1] > 0.75
    assert all(row["kl"] < row["kl_identity"] / 4 for row in smollm2.heads.metrics or ())


@pytest.mark.slow
@needs_smollm2
def test_it_is_recorded_by_its_name_alone(tmp_path: Path) -> None:
    deepest = str(json.loads((SMOLLM2.heads / "heads.json").read_text())["depths"][-1])
    options = [
        *("--model", "smollm2", "--out", str(tmp_path / "p"), "--limit", "1", "--domains", "chat"),
        *("--max-new-tokens", "3", "--placements", deepest, "--gammas", "0.5", "--repeats", "1"),
        *("--cap", "1", "--fixed-drafts", "0", "--contexts", "40,60", "--walks", deepest),
    ]
    done = CliRunner().invoke(profile, options)
    assert done.exit_code == 0, done.output
    manifest = read_profile(tmp_path / "p").manifest
    assert (manifest["model"]["name"], manifest["heads"]["name"]) == ("smollm2", "smollm2")
    assert manifest["model"]["origin"]["packed_as"] == "q4_1"
    assert any("unpacked from a GGUF file of format q4_1" in one for one in manifest["limitations"])


@pytest.mark.parametrize("command", [profile, train, flips])
def test_before_it_is_fetched_every_command_says_what_to_run(
    command: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADADECODE_CACHE", str(tmp_path / "empty"))
    named = ["--model", "smollm2"]
    if command is not flips:
        named += ["--out", str(tmp_path / "out")]
    if command is train:
        named += ["--prompts", str(SMOLLM2.prompts)]
    done = CliRunner().invoke(command, named)  # type: ignore[arg-type]
    assert isinstance(done.exception, InputError), done.output
    assert "the model smollm2 is not here yet" in str(done.exception)
    assert "run `make smollm2`" in str(done.exception)


def test_its_folder_is_known_without_torch() -> None:
    code = "import sys; from adadecode.engine.demo import SMOLLM2; assert SMOLLM2.prompts.exists()"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)
    assert bundle("smollm2") is SMOLLM2
    assert bundle("owner/other") is None


def test_what_is_shipped_is_small_and_has_a_card() -> None:
    assert sum(path.stat().st_size for path in SMOLLM2.heads.iterdir()) < 8e6
    assert "Apache-2.0" in (SMOLLM2.heads / "README.md").read_text()
