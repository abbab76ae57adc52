"""What the engine loads besides heads: prompts, device maps and the folder of a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from scripts.fuzz.reader import Reader
from scripts.fuzz.readers.tiny_model import decoded, save_tiny_model, tiny_model

LINES = (
    {"prompt": "w5 w6 w7", "domain": "words", "max_new_tokens": 8},
    {"text": "w10 w11"},
    {"prompt": "w20", "domain": "zwölf"},
)


CHATS = (
    {"messages": [{"role": "system", "content": "w1"}, {"role": "user", "content": "w2 w3"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "w4"}]}], "domain": "d"},
)
TURNS = [
    {"conversations": [{"from": "human", "value": "w5 w6"}, {"from": "gpt", "value": "w7"}]},
    {"conversations": [{"from": "gpt", "value": "w8"}, {"from": "user", "value": "w9"}]},
]


def _build_prompts() -> None:
    Path("prompts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    Path("chats.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in CHATS))
    Path("turns.json").write_text(json.dumps(TURNS, indent=1))
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


def _build_checkpoints() -> None:
    """Write the files that say how weights are kept, without the weights."""
    from gguf import GGUFWriter

    writer = GGUFWriter("tiny.gguf", "llama")
    writer.add_block_count(6)
    writer.add_token_list(["a", "b"])
    writer.add_array("tiny.numbers", [1, 2, 3])
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    Path("adapter").mkdir()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "model"}
    Path("adapter/adapter_config.json").write_text(json.dumps(config))
    save_file({"a": np.zeros(4, dtype=np.float32)}, "adapter/adapter_model.safetensors")
    Path("parts").mkdir()
    save_file({"a": np.zeros(4, dtype=np.float32)}, "parts/part.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "part.safetensors"}}
    Path("parts/model.safetensors.index.json").write_text(json.dumps(index))


def _head() -> str:
    """Read the head of a GGUF file, which carries no digest: what it says is no answer."""
    from adadecode.engine.loading.gguf_header import read_header

    read_header(Path("tiny.gguf"))
    return "read"


def _adapter() -> str:
    from adadecode.engine.loading.adapter import check_adapter
    from adadecode.engine.loading.model_files import find_files

    find_files("adapter")
    check_adapter("adapter")
    return "read"


def _parts() -> str:
    from adadecode.engine.loading.weight_files import check_weights

    check_weights(Path("parts"))
    return "read"


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
        "messages": lambda: _prompts("chats.jsonl"),
        "array": lambda: _prompts("turns.json"),
    },
)

DEVICE_MAP = Reader(name="device map", build=_build_map, actions={"read": _device_map})

CHECKPOINTS = Reader(
    name="checkpoint files",
    build=_build_checkpoints,
    actions={"GGUF": _head, "adapter": _adapter, "parts": _parts},
)

MODEL = Reader(
    name="model folder",
    build=lambda: save_tiny_model(Path("model")),
    files=("model/config.json", "model/generation_config.json", "model/tokenizer_config.json"),
    actions={"load": _load, "shape": _shape},
)
