"""Decode the models of a folder, sharded by their own plan; run by each process of ``torchrun``."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import AutoModelForCausalLM

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import InputError
from tests.support.models import random_prompt

N_TOKENS = 16
DESIGNS: dict[str, dict[str, Any]] = {
    "vanilla": {"policy": "vanilla"},
    "adadecode": {"gamma": 0.0, "placement": (2, 4)},
    "fixed": {"policy": "fixed", "placement": (3,), "cap": 3},
    "sampled": {"gamma": 0.1, "placement": (2, 4), "temperature": 1.0, "seed": 7},
}


def texts(decoder: AdaDecoder) -> dict[str, list[int]]:
    """Every design's text after one prompt."""
    return {
        name: decoder.generate(random_prompt(9), N_TOKENS, eos_token_id=(), **design).tokens
        for name, design in DESIGNS.items()
    }


def sharded(folder: Path) -> AdaDecoder:
    """A saved model and its heads, sharded over the processes."""
    from transformers.distributed import DistributedConfig

    plan = DistributedConfig(tp_plan="auto", tp_size=distributed.get_world_size())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers, about its own plans
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float64, distributed_config=plan, local_files_only=True
        ).eval()
    return AdaDecoder(model, ExitHeads.load(folder, model))


def main(folder: Path) -> None:
    """Decode each model; each process keeps what it found."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    found: dict[str, Any] = {}
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        decoder = sharded(one)
        weights = [type(weight).__name__ for weight in decoder.parts.layers.parameters()]
        try:
            decoder.generate(random_prompt(9), 2, temperature=1.0)
            unseeded = ""
        except InputError as error:
            unseeded = str(error)
        found[one.name] = {
            "texts": texts(decoder),
            "sharded": weights.count("DTensor"),
            "kv_heads": decoder.parts.kv.keys[0].shape[1]
            if decoder.parts.kv.keys[0] is not None
            else 0,
            "digest": decoder.heads.signature,
            "unseeded": unseeded,
        }
    (folder / f"{distributed.get_rank()}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
