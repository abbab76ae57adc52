"""Commands on conversations: what the model is asked, and what a recording says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from transformers import AutoTokenizer
from typer.testing import CliRunner

from adadecode.engine.cli import flips, train
from adadecode.engine.cli.profile import app
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.prompt_digest import prompt_digest
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.sharing.manifest import shared_manifest
from tests.support.saved_model import options, refusal, saved_model

TEMPLATE = (
    "{{ bos_token }} {% for m in messages %}{{ 'w3' if m.role == 'system' else 'w4' }} "
    "{{ m.content }} {% endfor %}{% if brief %}w5{% endif %}{% if effort == 'low' %} w6{% endif %}"
)
SYSTEM = "w90 w91"
ASKED = ("w10 w11", "w20 w21 w22")
CHAT = (
    *("--prompt-field", "chat", "--system", SYSTEM),
    *("--template-arg", "brief=true", "--template-arg", "effort=low"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny chat model with two conversations."""
    folder = saved_model(tmp_path_factory.mktemp("model"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    lines = [{"chat": [{"from": "human", "value": text}], "domain": "d"} for text in ASKED]
    (folder / "prompts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def recorded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    out = tmp_path_factory.mktemp("chat") / "out"
    result = CliRunner().invoke(app, [*options(model, out), *CHAT, "--contexts", "4,20"])
    assert result.exit_code == 0, result.output
    assert "holds JSON lines with ShareGPT's turns as" in " ".join(result.output.split())
    return read_profile(out)


def test_the_model_is_asked_what_the_template_writes(recorded: Profile) -> None:
    """<s>, the system message, the question and the arguments, each a token here."""
    texts = [f"<s> w3 {SYSTEM} w4 {text} w5 w6" for text in ASKED]
    about = recorded.manifest["prompts"]
    assert recorded.prompts["n_prompt"].tolist() == [9, 10]
    assert recorded.prompts["sha256"].tolist() == [
        prompt_digest(text, about["salt"]) for text in texts
    ]


def test_a_recording_says_how_its_prompts_were_made(recorded: Profile) -> None:
    """The template by its digest, the system message by a salted one, and the field."""
    about, settings = recorded.manifest["prompts"], recorded.manifest["settings"]
    assert about["chat"] is True
    assert about["template_sha256"] == sha256_hex(TEMPLATE.encode())
    assert about["system_sha256"] == prompt_digest(SYSTEM, about["salt"])
    assert settings["prompt_field"] == "chat"
    assert json.loads(settings["template_args"]) == {"brief": True, "effort": "low"}


def test_no_text_of_a_prompt_is_kept(recorded: Profile) -> None:
    """That of the system message is one."""
    for path in recorded.path.rglob("*"):
        assert SYSTEM.encode() not in (path.read_bytes() if path.is_file() else b"")
    shared = shared_manifest(recorded.manifest, name="p", eos=[2], domains={"d": "1"})
    assert shared["prompts"] == {"count": 2, "chat": True, "domains": ["1"]}
    assert not {"system", "template_args", "prompt_field"} & shared["settings"].keys()


def test_a_plain_recording_says_nothing_of_chats(model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("w10 w11\n")
    plain = [*options(model, tmp_path / "out"), "--prompts", str(tmp_path / "p.txt")]
    plain += ["--contexts", "3,9"]
    result = CliRunner().invoke(app, plain)
    assert result.exit_code == 0, result.output
    assert "has a chat template: --chat puts them to it" in " ".join(result.output.split())
    assert set(read_profile(tmp_path / "out").manifest["prompts"]) == {
        *("sha256", "count", "domains", "salt"),
    }


def test_a_script_has_its_own_prompts(model: Path, tmp_path: Path) -> None:
    wanted = "prompts are those of the recording: leave --template-arg out"
    scripted = ["--scripted", "p", "--demo", "--out", str(tmp_path / "out")]
    assert wanted in refusal([*scripted, "--template-arg", "a=1"])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("brief",), "wanted --template-arg as NAME=VALUE, got 'brief'"),
        (("a b=1",), "got the name 'a b'"),
        (("{",), "wanted JSON in --template-arg"),
        (("brif=1",), "reads no 'brif': check the name"),
    ],
)
def test_arguments_that_are_none_are_refused(
    model: Path, tmp_path: Path, words: tuple[str, ...], wanted: str
) -> None:
    given = [word for one in words for word in ("--template-arg", one)]
    chat = ("--prompt-field", "chat")
    assert wanted in refusal([*options(model, tmp_path / "out"), *chat, *given])


def test_heads_are_trained_on_answers(model: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        train.app,
        [
            *("--model", str(model), "--prompts", str(model / "prompts.jsonl"), *CHAT),
            *("--out", str(tmp_path / "heads"), "--depths", "2", "--epochs", "1"),
            *("--max-new-tokens", "4"),
        ],
    )
    assert result.exit_code == 0, result.output


def test_flips_are_counted_on_answers(model: Path) -> None:
    words = [
        *("--model", str(model), "--heads", "identity:2", *CHAT, "--max-new-tokens", "3"),
        *("--prompts", str(model / "prompts.jsonl"), "--gammas", "0.3", "--batches", "2"),
    ]
    result = CliRunner().invoke(flips.app, [*words, "--dtype", "float32", "--json"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", [train.app, flips.app])
def test_wrong_prompts_are_refused_before_the_model_is_loaded(
    command: typer.Typer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that reads no such argument."""
    monkeypatch.setattr(
        "adadecode.engine.loading.model_loader.load_model", lambda *_, **__: pytest.fail("loaded")
    )
    words = ["--model", str(model), "--prompts", str(model / "prompts.jsonl"), *CHAT]
    words += ["--out", str(tmp_path / "out")] if command is train.app else ["--heads", "identity:2"]
    result = CliRunner().invoke(command, [*words, "--template-arg", "brif=1"])
    assert "reads no 'brif'" in str(result.exception)
