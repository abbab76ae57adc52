"""Devices and models in TOML, and the configurations of models in JSON."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.fuzz.reader import Reader, command
from scripts.fuzz.readers import profiles
from scripts.fuzz.seals import seal_profile

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    "quantization_config": {"quant_method": "gptq", "bits": 4},
    "sliding_window": None,
    "hidden_act": "silu",
    "attention_bias": False,
}

MIXTURE = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
}

MODEL = """\
[mine]
n_layers = 16
hidden_size = 256
intermediate_size = 640
n_heads = 4
n_kv_heads = 2
head_dim = 64
vocab_size = 1024
max_positions = 1024
tied_embeddings = true
parameters = 11280640
source = "made up"
"""


def _build_devices() -> None:
    profiles.build()
    Path("device.toml").write_text(_template())


def _template() -> str:
    """Return the program's own example of a device, its comments left out."""
    printed = command("devices", "--template")().partition("\nexit code")[0]
    lines = [line.partition(" #")[0].rstrip() for line in printed.splitlines()]
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def _build_models() -> None:
    profiles.build()
    seal_profile()
    Path("model.toml").write_text(MODEL)


def _build_configs() -> None:
    Path("config.json").write_text(json.dumps(CONFIG))
    Path("mixture.json").write_text(json.dumps(MIXTURE))


_MEMORY = ("--device", "l4", "--context", "512", "--json")

DEVICES = Reader(
    name="device TOML",
    build=_build_devices,
    files=("device.toml",),
    actions={
        "memory": command("memory", "llama-2-7b", "--device", "device.toml", "--json"),
        "transfer": command("transfer", "profile", "--to", "device.toml", "--from", "l4", "--json"),
        "account": command("account", "profile", "--gamma", "0.5", "--to", "device.toml", "--json"),
    },
)

MODELS = Reader(
    name="model TOML",
    build=_build_models,
    files=("model.toml",),
    actions={
        "memory": command("memory", "model.toml", *_MEMORY),
        "account": command(
            "account", "profile", "--gamma", "0.5", "--model", "model.toml", "--json"
        ),
    },
)

CONFIGS = Reader(
    name="model config",
    build=_build_configs,
    actions={
        "memory": command("memory", "config.json", *_MEMORY),
        "memory of a mixture": command("memory", "mixture.json", *_MEMORY),
    },
)
