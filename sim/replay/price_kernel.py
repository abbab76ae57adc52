"""The price of counted work as one compiled loop: counts and latencies in, seconds out.

Import this module late: numba takes a while to load.
"""

from __future__ import annotations

import numpy as np

from adadecode.sim.replay.jit import compiled
from adadecode.sim.replay.work_columns import CHECK, GATE, RUN


@compiled
def price_work(keys, sums, marks, layers, unknown, heads, gates, verify, embed, host, prices):  # type: ignore[no-untyped-def]
    """Add the price of each piece of work to ``prices``, ``[designs, TIME_PARTS]``.

    The other arguments are as in `adadecode.sim.replay.price_list.PriceList`.
    """
    for i in range(len(keys)):
        design, kind, start, stop, n_tokens, reuse, interval = keys[i]
        count, context, modelled, modelled_context, discarded, discarded_context = sums[i]
        price = prices[design]
        if kind == RUN:
            low, high = marks[interval], marks[interval + 1]
            at_low = (
                layers[n_tokens, reuse, interval, stop] - layers[n_tokens, reuse, interval, start]
            )
            at_high = (
                layers[n_tokens, reuse, interval + 1, stop]
                - layers[n_tokens, reuse, interval + 1, start]
            )
            if unknown[n_tokens, reuse, interval, stop] > unknown[n_tokens, reuse, interval, start]:
                at_low = np.nan
            if (
                unknown[n_tokens, reuse, interval + 1, stop]
                > unknown[n_tokens, reuse, interval + 1, start]
            ):
                at_high = np.nan
            once = embed[n_tokens] if start == 0 else 0.0
            lost = (
                _between(discarded, discarded_context, low, high, at_low, at_high, once) / n_tokens
            )
            price[0] += _between(count, context, low, high, at_low, at_high, once) - lost
            price[1] += lost
            price[9] += _between(
                modelled, modelled_context, low, high, at_low, at_high, once + host
            )
        elif kind == CHECK:
            once = heads[start, reuse]
            price[2] += (count - discarded) * once
            price[3] += discarded * once
            price[9] += modelled * (once + host)
        elif kind == GATE:
            once = gates[start]
            price[7] += (count - discarded) * once
            price[8] += discarded * once
            price[9] += modelled * (once + host)
        else:
            once = verify[n_tokens]
            lost = once * discarded / n_tokens
            price[4] += count * once - lost
            price[5] += lost
            price[9] += modelled * (once + host)
        price[6] += count * host


@compiled
def _between(count, context, low, high, at_low, at_high, once):  # type: ignore[no-untyped-def]
    """Return the price of some pieces whose contexts lie between two marks, linear in between.

    A mark that none of them leans on need not be known.
    """
    total = count * once
    share = (context - count * low) / (high - low)
    if context < count * high:
        total += (count - share) * at_low
    if context > count * low:
        total += share * at_high
    return total
