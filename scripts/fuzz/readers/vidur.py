"""Operator times of the Vidur simulator."""

from __future__ import annotations

from pathlib import Path

from scripts.fuzz.reader import Reader, command

OPERATORS = {
    "input_layernorm": 0.005,
    "attn_pre_proj": 0.065,
    "attn_rope": 0.005,
    "attn_post_proj": 0.025,
    "post_attention_layernorm": 0.005,
    "mlp_up_proj": 0.116,
    "mlp_act": 0.007,
    "mlp_down_proj": 0.06,
    "add": 0.002,
    "emb": 0.003,
}
"""Milliseconds."""

SHAPE = {"n_head": 32, "n_kv_head": 32, "n_embd": 4096, "n_expanded_embd": 11008}


def _build() -> None:
    times = {f"time_stats.{name}.median": ms for name, ms in OPERATORS.items()}
    names = [*times, *SHAPE, "num_tokens", "num_tensor_parallel_workers"]
    rows = [
        [*times.values(), *SHAPE.values(), tokens, workers]
        for tokens in (1, 2, 4, 8)
        for workers in (1, 2)
    ]
    lines = [names, *rows]
    Path("mlp.csv").write_text("".join(f"{','.join(map(str, line))}\n" for line in lines))


def _import_and_transfer() -> str:
    printed = command(
        *("import", "vidur", "mlp.csv", "--model", "llama-2-7b"),
        *("--device", "a100-80gb-sxm", "--out", "out"),
    )()
    return printed + command("transfer", "out", "--to", "l4", "--json")()


VIDUR = Reader(name="Vidur CSV", build=_build, actions={"import": _import_and_transfer})
