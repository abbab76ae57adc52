"""What layers are built of: attention in its kinds, MLPs, mixtures of experts, recurrent mixers.

Each function counts the parameters, the keys and values, and the products of one part; a layer is
the sum of its parts. Norms over the hidden state are counted by the layer.
"""

from __future__ import annotations

from adadecode.profiles.catalog.layer_shape import LayerShape


def together(*parts: LayerShape, norms: int = 0) -> LayerShape:
    """Return the layer that has these parts; one of them at most has experts, one a window."""
    counted = (
        *("shared", "experts_per_token", "n_experts", "expert_parameters", "cache", "reads"),
        "expanded",
        *("products", "state", "attention_width", "mlp_width"),
    )
    return LayerShape(
        norms=norms,
        window=next((part.window for part in parts if part.window is not None), None),
        **{name: sum(getattr(part, name) for part in parts) for name in counted},
    )


def head_attention(
    hidden: int,
    heads: int,
    kv_heads: int,
    width: int,
    *,
    window: int | None = None,
    qkv_bias: bool = False,
    out_bias: bool = False,
    qk_norm: str = "none",
    extra: int = 0,
    shares_keys: bool = False,
) -> LayerShape:
    """Return attention of heads, which may share keys and values.

    Args:
        hidden: Width of the hidden state.
        heads: Heads of queries.
        kv_heads: Heads of keys and values.
        width: Width of a head.
        window: Positions that it sees, or None for all.
        qkv_bias: Whether queries, keys and values have a bias.
        out_bias: Whether the output has one.
        qk_norm: ``head`` over one head's width, ``full`` over all heads, ``biased`` over one head's
            width with a bias, or ``none``.
        extra: Other parameters: gates, sinks.
        shares_keys: Whether keys and values are those of an earlier layer.
    """
    queries, keys = heads * width, kv_heads * width
    norms = {
        "none": 0,
        "head": width * (1 if shares_keys else 2),
        "biased": 4 * width,
        "full": queries + keys,
    }[qk_norm]
    made = 0 if shares_keys else 2 * keys
    return LayerShape(
        shared=hidden * (2 * queries + made)
        + qkv_bias * (queries + made)
        + out_bias * hidden
        + norms
        + extra,
        cache=made,
        reads=2 * keys,
        products=2 * queries,
        window=window,
        attention_width=queries + keys,
    )


def latent_attention(
    hidden: int,
    heads: int,
    *,
    query_rank: int | None,
    rank: int,
    plain: int,
    rotary: int,
    value: int,
    bias: bool = False,
    extra: int = 0,
) -> LayerShape:
    """Return multi-head latent attention (DeepSeek-V2, section 2.1).

    The cache holds the latent and one rotated key of a position. Queries and outputs are multiplied
    with it as it is (the absorbed form), which is what makes it worth its products.

    Args:
        hidden: Width of the hidden state.
        heads: Heads.
        query_rank: Width of the latent of queries; None where they have none.
        rank: Width of the latent of keys and values.
        plain: Width of a key that is not rotated.
        rotary: Width of a key that is rotated.
        value: Width of a value.
        bias: Whether the projections of the hidden state have a bias.
        extra: Other parameters.
    """
    made = heads * (plain + rotary)
    if query_rank is None:
        queries = hidden * made
    else:
        queries = hidden * query_rank + bias * query_rank + query_rank + query_rank * made
    keys = hidden * (rank + rotary) + bias * (rank + rotary) + rank + rank * heads * (plain + value)
    return LayerShape(
        shared=queries + keys + heads * value * hidden + bias * hidden + extra,
        cache=rank + rotary,
        reads=rank + rotary,
        expanded=heads * (plain + rotary + value),
        products=heads * (2 * rank + rotary),
        attention_width=2 * made,
    )


def mlp(hidden: int, width: int, *, gated: bool = True, bias: bool = False) -> LayerShape:
    """Return an MLP of three matrices, or of two where it is not gated."""
    inward = 2 if gated else 1
    return LayerShape(
        shared=(inward + 1) * hidden * width + bias * (inward * width + hidden),
        mlp_width=width,
    )


def mixture(
    hidden: int,
    width: int,
    experts: int,
    per_token: int,
    *,
    shared: int = 0,
    shared_gate: bool = False,
    router_extra: int = 0,
    gated: bool = True,
    bias: bool = False,
    latent: int | None = None,
) -> LayerShape:
    """Return a mixture of experts with its router, and with experts that every token uses.

    Args:
        hidden: Width of the hidden state.
        width: Width of an expert.
        experts: How many there are.
        per_token: How many a token uses.
        shared: Width of all shared experts together.
        shared_gate: Whether these have a gate of their own.
        router_extra: Parameters of the router for each expert, besides its row.
        gated: Whether an expert has three matrices instead of two.
        bias: Whether experts have a bias.
        latent: Width that routed experts work in, between two projections; None for the hidden one.
    """
    one = mlp(latent or hidden, width, gated=gated, bias=bias)
    always = mlp(hidden, shared, gated=gated, bias=bias)
    return LayerShape(
        shared=experts * (hidden + router_extra)
        + 2 * hidden * (latent or 0)
        + (always.shared if shared else 0)
        + shared_gate * hidden,
        n_experts=experts,
        experts_per_token=per_token,
        expert_parameters=one.shared,
        mlp_width=per_token * width + shared,
    )


def mamba(
    hidden: int, inner: int, state: int, kernel: int, rank: int, *, bias: bool, normed: bool
) -> LayerShape:
    """Return a selective state space of the first kind (Mamba, Jamba).

    Args:
        hidden: Width of the hidden state.
        inner: Width of the mixer.
        state: Numbers of the state for each of these.
        kernel: Width of the convolution.
        rank: Width of the time step.
        bias: Whether the convolution has a bias.
        normed: Whether time step and projections have norms.
    """
    return LayerShape(
        shared=3 * hidden * inner
        + inner * (kernel + bias)
        + inner * (rank + 2 * state)
        + inner * (rank + 1)
        + inner * (state + 1)
        + normed * (rank + 2 * state),
        state=inner * (state + kernel),
    )


def mamba2(
    hidden: int,
    heads: int,
    width: int,
    groups: int,
    state: int,
    kernel: int,
    *,
    conv_bias: bool,
    bias: bool = False,
    normed: bool = True,
) -> LayerShape:
    """Return a state space of the second kind (Mamba-2), in heads.

    Args:
        hidden: Width of the hidden state.
        heads: Heads.
        width: Width of a head.
        groups: Groups that share their projections.
        state: Numbers of the state for each number of a head.
        kernel: Width of the convolution.
        conv_bias: Whether the convolution has a bias.
        bias: Whether the projections have one.
        normed: Whether there is a norm before the output.
    """
    inner = heads * width
    mixed = inner + 2 * groups * state
    made = inner + mixed + heads
    return LayerShape(
        shared=hidden * made
        + bias * (made + hidden)
        + mixed * (kernel + conv_bias)
        + 3 * heads
        + normed * inner
        + inner * hidden,
        state=inner * state + mixed * kernel,
    )


def delta_net(
    hidden: int, key_heads: int, value_heads: int, key: int, value: int, kernel: int
) -> LayerShape:
    """Return a gated delta net (Qwen3-Next): linear attention with a state for each head."""
    keys, values = key_heads * key, value_heads * value
    mixed = 2 * keys + values
    return LayerShape(
        shared=hidden * (mixed + values + 2 * value_heads)
        + mixed * kernel
        + 2 * value_heads
        + value
        + values * hidden,
        state=value_heads * key * value + mixed * kernel,
    )


def delta_attention(hidden: int, heads: int, width: int, kernel: int) -> LayerShape:
    """Return Kimi delta attention (Kimi Linear): a delta net whose gates have a low rank."""
    inner = heads * width
    gates = 2 * (hidden * width + width * inner)
    return LayerShape(
        shared=4 * hidden * inner
        + 3 * inner * kernel
        + inner
        + heads
        + gates
        + hidden * heads
        + width,
        state=heads * width * width + 3 * inner * kernel,
    )


def lightning_attention(hidden: int, heads: int, width: int) -> LayerShape:
    """Return lightning attention (MiniMax-01): linear, with a gate and a norm of its output."""
    inner = heads * width
    return LayerShape(shared=5 * hidden * inner + inner, state=heads * width * width)


def short_convolution(hidden: int, kernel: int, *, bias: bool) -> LayerShape:
    """Return a gated short convolution (LFM2)."""
    return LayerShape(
        shared=4 * hidden * hidden + hidden * kernel + bias * 5 * hidden, state=hidden * kernel
    )
