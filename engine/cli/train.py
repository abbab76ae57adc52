"""``adadecode-train``: exit heads for a causal LM, from a file of prompts."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.tables import coverage_table

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@app.command()
def train(
    *,
    prompts: Annotated[
        Path,
        typer.Option(
            help='JSON lines with "prompt" or "text", or plain text with one prompt a line.'
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the heads; a stopped run in it goes on.")],
    model: Annotated[str, typer.Option(help="A Hugging Face model: its name or its folder.")] = "",
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="The small model that comes with this program, instead of --model."
        ),
    ] = False,
    depths: Annotated[
        str, typer.Option(help="Depths of the heads: 4,8,12 or all; every 4th layer by default.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            help="auto (the checkpoint's own on a GPU, float32 on a CPU), float16, bfloat16, float32 or float64."
        ),
    ] = "auto",
    max_new_tokens: Annotated[
        int, typer.Option(help="Longest continuation of a prompt, in tokens.")
    ] = 256,
    epochs: Annotated[int, typer.Option(help="Passes over the positions.")] = 8,
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate; 0.5 over the model's width by default."),
    ] = None,
    batch_tokens: Annotated[int, typer.Option(help="Positions a step.")] = 1024,
    held_out: Annotated[
        float, typer.Option(help="Share of the prompts that only the measurement sees.")
    ] = 0.1,
    seed: Annotated[
        int, typer.Option(help="Which prompts are held out, and the order of the rest.")
    ] = 0,
    shortlist: Annotated[
        int | None,
        typer.Option(
            help="Save heads that give logits of this many frequent tokens alone.",
            show_default=False,
        ),
    ] = None,
    head_dtype: Annotated[
        str | None,
        typer.Option(
            help="int8: save heads that read T and the LM head in it.", show_default=False
        ),
    ] = None,
    keep_cache: Annotated[
        bool,
        typer.Option("--keep-cache", help="Keep the continuations and hidden states when done."),
    ] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
) -> None:
    """Train exit heads for a causal LM on its own greedy continuations of PROMPTS.

    Stop it at any time: the same command goes on where it was.
    """
    try:
        if demo and model:
            raise InputError(
                f"--demo is the model that comes with this program, --model {model} another: not both, leave one of them out"
            )
        if not (demo or model):
            raise InputError("wanted a model: either --model NAME or --demo")
        from adadecode.engine.loading.prompts import read_prompts

        texts = read_prompts(prompts)
        from adadecode.engine.cli.tables import metrics_table
        from adadecode.engine.demo import load_demo
        from adadecode.engine.loading.model_loader import load_model
        from adadecode.engine.runtime.environment import torch_device
        from adadecode.engine.training.pipeline import train_heads

        if demo:
            place = torch_device(device)
            shipped = load_demo("float32" if dtype == "auto" else dtype, str(place))
            lm, tokenizer = shipped.model, shipped.tokenizer
        else:
            lm, tokenizer = load_model(model, dtype, device, trust_remote_code=trust_remote_code)
        heads = train_heads(
            lm,
            tokenizer,
            texts,
            parse_depths(depths, lm.config.get_text_config().num_hidden_layers),
            out,
            max_new_tokens=max_new_tokens,
            epochs=epochs,
            batch_tokens=batch_tokens,
            lr=lr,
            seed=seed,
            held_out=held_out,
            keep_cache=keep_cache,
            shortlist=shortlist,
            head_dtype=head_dtype,
            console=Console(stderr=True),
        )
    except KeyboardInterrupt:
        typer.echo(
            f"interrupted: the same command goes on where it stopped: {shlex.join(['adadecode-train', *sys.argv[1:]])}",
            err=True,
        )
        raise typer.Exit(130) from None
    console = Console()
    console.print(metrics_table(heads))
    if heads.coverage is not None:
        console.print(coverage_table(heads.coverage, heads.form))
    console.print(
        f"heads at depths {', '.join(map(str, heads.depths))} in {out}",
        highlight=False,
        soft_wrap=True,
    )


def parse_depths(text: str, n_layers: int) -> tuple[int, ...] | None:
    """The depths that ``4,8,12`` or ``all`` name; None, for the default, from an empty text. Raises InputError."""
    if not text.strip():
        return None
    if text.strip() == "all":
        return tuple(range(1, n_layers))
    try:
        return tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise InputError(f"wanted --depths such as 4,8,12, or all, got {text!r}") from None
