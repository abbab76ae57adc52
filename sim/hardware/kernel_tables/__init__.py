"""Kernel times that production engines measured, as the project AIConfigurator publishes them.

Its package ``aiconfigurator-core`` and ``../shared/data/aiconfigurator`` hold a folder for each
system, with one file for each kind of kernel, engine and version of it::

    FOLDER/h200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet
    FOLDER/h200_sxm/attention/vllm/0.24.0/generation_attention_perf.parquet
    FOLDER/h200_sxm/attention/vllm/0.24.0/context_attention_perf.parquet

How to read them::

    from adadecode.sim.hardware.kernel_tables.library import KernelLibrary

    library = KernelLibrary.of("FOLDER")        # or KernelLibrary.installed()
    library.systems                             # ("a100_sxm", "h100_sxm", ...)
    library.backends("h200_sxm")                # ("vllm",)
    library.versions("h200_sxm", "vllm")        # ("0.14.0", "0.24.0"), the newest last
    tables = library.tables("h200_sxm", "vllm")  # of the newest version
    tables.device_name                          # "NVIDIA H200", as the engine's host called it
    tables.products("bf16").rows                # data frame: m, n, k, seconds, watts
    tables.decode_attention(n_heads=32, n_kv_heads=8, head_dim=128).rows  # batch, context, ...
    tables.prompt_attention(n_heads=32, n_kv_heads=8, head_dim=128).rows  # batch, prompt, ...

Seconds and watts everywhere; watts are NaN where a file has none. A product multiplies m rows of
width k with a matrix of k x n. ``context`` counts the positions that a token attends to, itself
included. Nothing is filled in: what a file lacks is an `InputError` that says what it has.

The product of a shape between those of a file, and what a layer of a model takes, are in
`adadecode.sim.hardware.kernel_tables.products` and `adadecode.sim.hardware.kernel_tables.model`.
"""
