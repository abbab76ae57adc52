"""Every reader by name."""

from __future__ import annotations

from scripts.fuzz.reader import Reader
from scripts.fuzz.readers.arguments import ARGUMENTS
from scripts.fuzz.readers.catalogues import CONFIGS, DEVICES, MODELS
from scripts.fuzz.readers.heads import HEADS
from scripts.fuzz.readers.loading import CHECKPOINTS, DEVICE_MAP, MODEL, PROMPTS
from scripts.fuzz.readers.profiles import PROFILE, REPORTED
from scripts.fuzz.readers.recording import RECORDING
from scripts.fuzz.readers.sweeps import FINISHED, UNFINISHED
from scripts.fuzz.readers.training import TRAINING
from scripts.fuzz.readers.vidur import VIDUR
from scripts.fuzz.readers.workloads import WORKLOADS

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        *(PROFILE, REPORTED, FINISHED, UNFINISHED, DEVICES, MODELS, CONFIGS, VIDUR, ARGUMENTS),
        *(HEADS, TRAINING, RECORDING, PROMPTS, DEVICE_MAP, CHECKPOINTS, MODEL, WORKLOADS),
    )
}
