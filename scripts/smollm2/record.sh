#!/usr/bin/env bash
# Records the committed profile of SmolLM2 on this machine, alone on it: its times are kept.
# About a quarter of an hour on a core of its own; after a stop, `record.sh --resume` goes on.
# Twelve prompts of our own, twelve designs beside vanilla, two repeats, FP32, eager, one thread.
set -eu
cd "$(dirname "$0")/../.."
if [ "${1:-}" != --resume ]; then rm -rf out/smollm2-cpu; fi
.venv/bin/adadecode-profile --model smollm2 --out out/smollm2-cpu \
    --limit 3 --max-new-tokens 48 --repeats 2 \
    --placements '24;21,24,27;12,18,24,27' --gammas 0.6,0.85 --gates 0,0.3 \
    --cap 4 --fixed-drafts 0 --head-forms int8,shortlist:8192,shortlist:2048+prompt,shortlist:1024+prompt \
    --graphs eager --dtype float32 --threads 1 "$@"
.venv/bin/adadecode-sim validate out/smollm2-cpu
rm -rf profiles/recorded/smollm2-cpu
cp -r out/smollm2-cpu profiles/recorded/smollm2-cpu
