"""The numbers, lists and names that users type after ``adadecode-sim``."""

from __future__ import annotations

from scripts.fuzz.reader import Reader, command_of_files, write_arguments
from scripts.fuzz.readers import profiles

_COMMANDS: dict[str, tuple[str, ...]] = {
    "predict": (
        *("predict", "profile", "--policy", "adadecode", "--gamma", "0.5,0.7", "--heads", "3,8"),
        *("--cap", "4", "--domain", "arithmetic", "--to", "l4", "--from", "t4", "--dtype", "bf16"),
        *("--map", "3:3,7:8", "--shortlist", "64", "--head-dtype", "int8", "--json"),
    ),
    "limits": ("limits", "profile", "--gamma", "0.5", "--heads", "3", "--change", "10%", "--json"),
    "validate": ("validate", "profile", "--fail-over", "5%", "--json"),
    "timeline": ("timeline", "profile", "--prompt", "0", "--rounds", "3", "--out", "trace.json"),
    "sweep": (
        *("sweep", "profile", "--gammas", "0.5,0.9", "--slopes", "0,0.1", "--max-heads", "1"),
        *("--heads", "3,7", "--caps", "3,4", "--policies", "adadecode,vanilla", "--domain"),
        *("arithmetic", "--devices", "l4,t4", "--from", "t4", "--objective", "tpot,memory"),
        *("--method", "auto", "--trials", "20", "--threads", "1", "--out", "out", "--json"),
    ),
    "transfer": ("transfer", "profile", "--to", "l4", "--from", "t4", "--tokens", "1..4", "--json"),
    "memory": (
        *("memory", "llama-2-7b", "--device", "l4", "--heads", "8,16", "--cap", "5", "--dtype"),
        *("fp16", "--context", "2048", "--prompt", "1024", "--sequences", "2", "--cache-dtype"),
        *("fp16", "--reserve-gib", "1", "--usable", "0.9", "--shortlist", "1000", "--json"),
    ),
    "synthesize": (
        *("synthesize", "--layers", "12", "--depths", "4,8", "--agreement", "0.6,0.8"),
        *("--confidence", "0.5,0.7", "--concentration", "4", "--along-text", "0.1"),
        *("--prompts", "1", "--prompt-tokens", "4", "--tokens", "8", "--seed", "3"),
        *("--out", "out", "--json"),
    ),
    "acceptance": (
        *("acceptance", "--speedup", "1.2", "--head-cost", "0.5", "--verify-cost", "0.5"),
        *("--gammas", "0.5,0.8", "--layers", "12", "--depths", "4,8", "--agreement", "0.6,0.8"),
        *("--prompts", "1", "--tokens", "16", "--cap", "3", "--json"),
    ),
    "rates": (
        *(
            "synthesize",
            "--layers",
            "12",
            "--depths",
            "4",
            "--rates",
            "0.5:0.4:0.1",
            "--confidence",
            "0.6",
        ),
        *("--concentration", "4"),
        *("--prompts", "1", "--tokens", "4", "--out", "out", "--json"),
    ),
}


def _build() -> None:
    profiles.build()
    for name, words in _COMMANDS.items():
        write_arguments(name, *words)


ARGUMENTS = Reader(
    name="arguments",
    build=_build,
    files=("arguments/*/*",),
    actions={name: command_of_files(name, ("trace.json",)) for name in _COMMANDS},
)
