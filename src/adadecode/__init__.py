"""Predict and measure what early-exit decoding gives: see ``adadecode.engine``, ``adadecode.sim`` and ``adadecode.profiles``."""
