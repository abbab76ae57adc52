"""What the engine loads besides heads: prompts, device maps and the folder of a model."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.fuzz.reader import Reader
from scripts.fuzz.readers.tiny_model import decoded, save_tiny_model, tiny_model

LINES = (
    {"prompt": "w5 w6 w7", "domain": "words", "max_new_tokens": 8},
    {"text": "w10 w11"},
    {"prompt": "w20", "domain": "zwölf"},
)


def _build_prompts() -> None:
    Path("prompts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    Path("prompts.txt").write_text("w5 w6 w7\n\nw10 w11\nw20 zwölf\n")


def _prompts(name: str) -> str:
    from adadecode.engine.loading.prompt_file import read_prompts, read_texts
    from adadecode.engine.loading.prompts import encode

    _, tokenizer = tiny_model()
    texts = [(one, encode(tokenizer, one).tolist()) for one in read_texts(name)]
    return f"{read_prompts(name)} {texts}"


def _build_map() -> None:
    places = {"model.embed_tokens": 0, "model.layers.0": 0, "lm_head": "cpu"}
    Path("map.json").write_text(json.dumps(places))


def _device_map() -> str:
    from adadecode.engine.loading.device_map import read_map

    return repr(read_map("map.json"))


def _load() -> str:
    from adadecode.engine.loading.model_loader import load_model

    model, tokenizer = load_model("model", "float32", "cpu")
    return f"{decoded(model)} {tokenizer('w5 w6 w7 w500')['input_ids']}"


def _shape() -> str:
    """Return the shape that the simulator takes from the configuration of the same folder."""
    from adadecode.profiles.catalog.models import find_model

    return repr(find_model("model/config.json"))


PROMPTS = Reader(
    name="prompts",
    build=_build_prompts,
    actions={
        "JSON lines": lambda: _prompts("prompts.jsonl"),
        "text": lambda: _prompts("prompts.txt"),
    },
)

DEVICE_MAP = Reader(name="device map", build=_build_map, actions={"read": _device_map})

MODEL = Reader(
    name="model folder",
    build=lambda: save_tiny_model(Path("model")),
    files=("model/config.json", "model/generation_config.json", "model/tokenizer_config.json"),
    actions={"load": _load, "shape": _shape},
)
