"""Figures that the AdaDecode paper (arXiv 2506.03700) publishes; none was measured here."""

from __future__ import annotations

from adadecode.sim.synthetic.rate_fitting import Target

PLACEMENT = (8, 16, 24)
"""Heads of Llama-3.1-8B. Where those of the CodeLlamas are is not published."""

GAMMA = 0.75
"""Of table 2, for all models and tasks."""

OUTPUTS = 512
"""New tokens of each prompt."""

FIGURE_5 = {0.0: 1.17, 0.2: 1.21, 0.4: 1.32, 0.6: 1.41, 0.8: 1.43, 1.0: 0.94}
"""Speedup of Llama-3.1-8B on HumanEval by gamma, read off a plot to about 0.01."""

FIGURE_5_RATES = (
    Target(0.0, 1.0, 0.61),
    Target(0.2, 1.0, 0.55),
    Target(0.4, 1.0, 0.41),
    Target(0.6, 0.93, 0.24),
    Target(0.8, 0.76, 0.09),
    Target(1.0, 0.0, 0.0),
)
"""Tokens predicted early of those tested, and rejected of those drafted, in the same plot."""

TASKS = ("XSum", "HumanEval", "GSM8K")

VANILLA = {
    "llama-3.1-8b": dict(zip(TASKS, (33.31, 32.58, 33.13), strict=True)),
    "codellama-13b": dict(zip(TASKS, (27.80, 27.55, 28.25), strict=True)),
    "codellama-34b": dict(zip(TASKS, (17.68, 18.91, 19.16), strict=True)),
}
"""Table 2: tokens/s of vanilla decoding, Hugging Face, FP16, A100."""

ADADECODE = {
    "llama-3.1-8b": dict(zip(TASKS, (1.14, 1.51, 1.48), strict=True)),
    "codellama-13b": dict(zip(TASKS, (1.37, 1.69, 1.57), strict=True)),
    "codellama-34b": dict(zip(TASKS, (1.38, 1.73, 1.60), strict=True)),
}
"""Table 2: AdaDecode's speedup over vanilla."""

UNVERIFIED = 1.64
"""Table 3, Llama-3.1-8B on HumanEval: without verification, where 1.51 is with it."""

ONE_HEAD = 1.37
"""Table 3: one fixed layer; the paper does not say which."""
