"""The replay as one compiled loop: designs and texts in, counts of work out.

The rules are those of `adadecode.sim.core.scheduler`, `adadecode.sim.replay.outcomes` and
`adadecode.sim.replay.pricer`, written once more over arrays. Property tests hold them equal. Import
this module late: numba takes a while to load.
"""

from __future__ import annotations

import numpy as np

from adadecode.profiles.hashing import mix, pick
from adadecode.sim.replay.jit import compiled
from adadecode.sim.replay.work_columns import CHECK, GATE, RUN, SUMS, VERIFY

_NEVER = 2**62

_mix, _pick = compiled(mix), compiled(pick)


@compiled
def count_designs(  # type: ignore[no-untyped-def]
    # of each design
    heads, columns, thresholds, gate_thresholds, n_heads, caps, verifies, oracles,
    # of the texts
    confidence, token, gate, ends, first, numbers, n_prompt, budgets, chosen, eos, sampled,
    n_layers, marks,
    # off them
    branch_confidence, branch_token, branch_gate, recorded, child, roots,
    pool_confidence, pool_token, pool_gate, pools, committed,
    # filled
    keys, sums, tallies, drafted,
):  # fmt: skip
    """Count designs until all are done or the entries are full.

    The arguments are the arrays of `adadecode.sim.replay.compiled`. Four of them are filled:

    * ``keys`` with the kind of each entry,
    * ``sums`` with the counts of each entry,
    * ``tallies`` with the counts of each design, ``[designs, TALLY]``,
    * ``drafted`` with drafts and accepted ones, ``[designs, 2, heads]``.

    Returns:
        How many designs are done, and how many entries are filled.
    """
    entries = 0
    for design in range(len(n_heads)):
        h = n_heads[design]
        verify, oracle, cap = verifies[design], oracles[design], caps[design]
        ends_judged = verify and sampled
        boundaries = np.empty(h + 2, dtype=np.int64)
        boundaries[0], boundaries[h + 1] = 0, n_layers
        boundaries[1 : h + 1] = heads[design, :h]
        n_intervals = len(marks) - 1
        checks = (h + 1) * (cap + 1) * n_layers * n_intervals  # where they begin, after the runs
        verified = checks + h * n_layers
        gates = verified + cap + 2
        table = np.zeros((gates + h, len(SUMS)), dtype=np.int64)
        for which in chosen:
            low, high = first[which], first[which + 1]
            final = token[-1, low:high]
            budget = budgets[which, int(verify)]
            take, right = _first_exits(
                confidence[:, low:high],
                token[:, low:high],
                gate[:, low:high],
                final,
                ends[:, low:high],
                columns[design, :h],
                thresholds[design, :h],
                gate_thresholds[design, :h],
                verify,
                sampled,
                oracle,
            )
            _replay(
                take, right, token[:, low:high], gate[:, low:high], final, ends[-1, low:high],
                roots[:, low:high], boundaries, columns[design, :h], thresholds[design, :h],
                gate_thresholds[design, :h], cap, verify, oracle,
                numbers[which], n_prompt[which], budget, eos,
                ends_judged, marks,
                branch_confidence, branch_token, branch_gate, recorded, child,
                pool_confidence, pool_token, pool_gate, pools, committed,
                table, checks, tallies[design], drafted[design],
            )  # fmt: skip
        needed = np.count_nonzero(table[:, 0])
        if entries + needed > len(keys):
            tallies[design] = 0
            drafted[design] = 0
            return design, entries
        for i in range(len(table)):
            if not table[i, 0]:
                continue
            if i < checks:
                rest, interval = i // n_intervals, i % n_intervals
                rest, reuse = rest // n_layers, rest % n_layers + 1
                segment, n_tokens = rest // (cap + 1), rest % (cap + 1) + 1
                keys[entries] = (
                    design,
                    RUN,
                    boundaries[segment],
                    boundaries[segment + 1],
                    n_tokens,
                    reuse,
                    interval,
                )
            elif i < verified:
                head, reuse = (i - checks) // n_layers, (i - checks) % n_layers + 1
                keys[entries] = (design, CHECK, boundaries[head + 1], 0, 1, reuse, 0)
            elif i < gates:
                keys[entries] = (design, VERIFY, 0, 0, i - verified, 0, 0)
            else:
                keys[entries] = (design, GATE, boundaries[i - gates + 1], 0, 1, 0, 0)
            sums[entries] = table[i]
            entries += 1
    return len(n_heads), entries


@compiled
def _first_exits(  # type: ignore[no-untyped-def]
    confidence, token, gate, final, ends, columns, thresholds, gate_thresholds,
    verify, sampled, oracle,
):  # fmt: skip
    """Return which head drafts before each output on the text, and whether it is right.

    A head is counted in the placement; where none drafts, their number stands. Both have the shape
    ``[outputs]``.
    """
    n_outputs, n_heads = len(final), len(columns)
    take = np.full(n_outputs, n_heads, dtype=np.int64)
    right = np.ones(n_outputs, dtype=np.bool_)
    if oracle:
        for output in range(1, n_outputs):
            if verify and ends[-1, output]:
                continue
            for head in range(n_heads - 1, -1, -1):
                if token[columns[head], output] != final[output]:
                    break
                take[output] = head
        return take, right
    for head in range(n_heads - 1, -1, -1):  # the shallowest has the last word
        sure, draft, end, threshold = (
            confidence[columns[head]],
            token[columns[head]],
            ends[columns[head]],
            thresholds[head],
        )
        score, least = gate[columns[head]], gate_thresholds[head]
        for output in range(1, n_outputs):
            drafts = (
                sure[output] > threshold
                and (least == 0.0 or score[output] > least)
                and (sampled or not (verify and end[output]))
            )
            take[output] = head if drafts else take[output]
            right[output] = draft[output] == final[output] if drafts else right[output]
    return take, right


@compiled
def _replay(  # type: ignore[no-untyped-def]
    take, right, text_tokens, text_gates, final, ends, roots,
    boundaries, columns, thresholds, gate_thresholds, cap, verify, oracle,
    number, n_prompt, budget, eos, ends_judged, marks,
    branch_confidence, branch_token, branch_gate, recorded, child,
    pool_confidence, pool_token, pool_gate, pools, committed,
    table, checks, tally, drafted,
):  # fmt: skip
    """Add the work of one design on one text to the counts.

    ``ends_judged``: whether a drafted end is kept for the last layer, and not left out.
    """
    n_segments, n_layers, n_intervals = len(boundaries) - 1, boundaries[-1], len(marks) - 1
    n_heads, last = n_segments - 1, len(text_tokens) - 1
    gates = len(table) - n_heads  # where they begin, after the verifications
    verified = gates - cap - 2  # where they begin, after the checks
    lengths = np.full(n_segments, n_prompt)
    began = np.full(n_segments, -n_layers)
    exits = np.empty(cap + 1, dtype=np.int64)
    counted = np.empty(
        3 * (cap + 1) * n_segments + 1, dtype=np.int64
    )  # what the round did: where it is counted ...
    contexts = np.empty(3 * (cap + 1) * n_segments + 1, dtype=np.int64)  # ... and at which context
    passes, interval = 0, 0
    tokens, rounds, tested = 1, 0, 0
    newest = final[0]
    ended = ends[0]
    off, left, steps, state, node = (
        False,
        0,
        0,
        0,
        -1,
    )  # off the text: since which output, how many tokens, their number, their node
    while tokens < budget and not ended:
        first = position = n_prompt + tokens - 1
        drafts, accepted, n_counted, keep = 0, 0, 0, _NEVER
        modelled = stopped = False
        if verify:
            off = False
        while True:
            output = position - n_prompt + 1
            context = position + 1
            while interval + 1 < n_intervals and context > marks[interval + 1]:
                interval += 1
            while interval > 0 and context <= marks[interval]:
                interval -= 1
            may_draft = drafts < cap and (budget - tokens - drafts > 1 or not verify)
            exit_at = n_heads
            draft, drawn = 0, -1
            for segment in range(n_segments):
                start, lengths[segment] = lengths[segment], context
                reuse = min(passes - began[segment], n_layers)
                began[segment] = passes
                passes += boundaries[segment + 1] - boundaries[segment]
                where = (
                    (segment * (cap + 1) + context - start - 1) * n_layers + reuse - 1
                ) * n_intervals + interval
                table[where, 0] += 1
                table[where, 1] += context
                if context > keep:
                    dropped = context - max(start, keep)
                    table[where, 4] += dropped
                    table[where, 5] += dropped * context
                counted[n_counted], contexts[n_counted] = where, context
                n_counted += 1
                if (
                    segment == n_heads or not may_draft or (oracle and segment < take[output])
                ):  # the oracle never leaves the text
                    continue
                if segment == 0 and not oracle:
                    tested += 1
                column = columns[segment]
                if gate_thresholds[segment] > 0.0:
                    where = gates + segment
                    table[where, 0] += 1
                    table[where, 4] += position >= keep
                    counted[n_counted], contexts[n_counted] = where, 0
                    n_counted += 1
                    if not off:
                        score = text_gates[column, output]
                    elif node >= 0 and recorded[node, column]:
                        score = branch_gate[node, column]
                    else:
                        modelled = True
                        if drawn < 0:
                            drawn = _drawn(verify, number, left, steps, state, pools, committed)
                        score = pool_gate[drawn, column]
                    if not score > gate_thresholds[segment]:
                        continue
                where = checks + segment * n_layers + reuse - 1
                table[where, 0] += 1
                table[where, 4] += position >= keep
                counted[n_counted], contexts[n_counted] = where, 0
                n_counted += 1
                if not off:
                    if segment == take[output]:
                        draft = text_tokens[column, output]
                        if ends_judged and _in(draft, eos):
                            may_draft = False
                            continue
                        exit_at = segment
                        break
                    continue
                if node >= 0 and recorded[node, column]:
                    sure, draft = branch_confidence[node, column], branch_token[node, column]
                else:
                    modelled = True
                    if drawn < 0:
                        drawn = _drawn(verify, number, left, steps, state, pools, committed)
                    sure, draft = pool_confidence[drawn, column], pool_token[drawn, column]
                if sure > thresholds[segment]:
                    if verify and _in(draft, eos):
                        may_draft = not ends_judged
                        continue
                    exit_at = segment
                    break
            if exit_at == n_heads:
                break
            exits[drafts] = exit_at
            drafted[0, exit_at] += 1
            drafts += 1
            newest = draft
            if off:
                state, steps = _mix(state, draft), steps + 1
                node = child[node, columns[exit_at]] if node >= 0 and verify else -1
            elif right[output]:
                accepted += 1
            else:
                off, left, steps = True, output, 1
                state = _mix(_mix(_mix(0, number), output), draft)
                node = roots[columns[exit_at], output] if verify else -1
                keep = context if verify else _NEVER  # what comes now is rolled back
            if not verify and (_in(draft, eos) or tokens + drafts >= budget):
                stopped = True
                break
            position += 1
        if not verify:
            accepted = drafts
        for i in range(accepted):
            drafted[1, exits[i]] += 1
        tokens += accepted
        if not stopped:
            n_rows = position + 1 - first if verify else 1
            if verify:
                newest = final[tokens]
            else:
                output = position - n_prompt + 1
                if off:
                    modelled = True
                    drawn = _drawn(verify, number, left, steps, state, pools, committed)
                    newest = pool_token[drawn, last]
                    steps += 1
                else:
                    newest = final[output]
            tokens += 1
            where = verified + n_rows
            table[where, 0] += 1
            table[where, 4] += n_rows - 1 - accepted if verify else 0
            counted[n_counted], contexts[n_counted] = where, 0
            n_counted += 1
        rounds += 1
        ended = _in(newest, eos)
        if oracle:
            tested += drafts + (1 if drafts < cap else 0)
        if modelled:
            for i in range(n_counted):
                table[counted[i], 2] += 1
                table[counted[i], 3] += contexts[i]
        for segment in range(n_segments):
            lengths[segment] = min(lengths[segment], first + accepted + 1)
        tally[3] += drafts
        tally[4] += accepted
    tally[0] += rounds
    tally[1] += tokens
    tally[2] += tested
    tally[5] += off and not verify


@compiled
def _drawn(verify, number, left, steps, state, pools, committed):  # type: ignore[no-untyped-def]
    """Return the row of the pools that stands in for this place.

    As `BranchModel.branch`; without verification as `BranchModel.committed`.
    """
    if not verify:
        return committed[0] + _pick(_mix(_mix(_mix(0, number), left), steps), committed[1])
    row = steps if steps < len(pools) else 0
    return pools[row, 0] + _pick(state, pools[row, 1])


@compiled
def _in(item, items):  # type: ignore[no-untyped-def]
    for other in items:
        if other == item:
            return True
    return False
