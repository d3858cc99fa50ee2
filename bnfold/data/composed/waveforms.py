"""``waveforms``: what a sensor hears of six kinds of oscillator, composed from their formulas and noise."""

import functools

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.split import Split

LENGTH = 256
CLASSES = ("sine", "square", "sawtooth", "rising", "falling", "beating")
_SAMPLES = {Split.TRAIN: 1200, Split.TEST: 300}
_SEEDS = {Split.TRAIN: 0, Split.TEST: 1}


@functools.cache
def waveforms(split: Split) -> Dataset:
    """Return ``signal`` ``(N, 1, 256)``, float32, and labels, the places in `CLASSES`.

    Loudness, pitch (4 to 16 periods a window) and phase are drawn; the noise has a third of the signal's amplitude.
    """
    random = np.random.default_rng([_SEEDS[split], LENGTH])
    labels = np.arange(_SAMPLES[split], dtype=np.int64) % len(CLASSES)
    signals = np.stack([_signal(CLASSES[label], random) for label in labels])
    return Dataset("waveforms", {"signal": signals[:, None]}, labels)


def _signal(kind: str, random: np.random.Generator) -> Array:
    time = np.arange(LENGTH) / LENGTH
    pitch, phase, loudness = random.uniform(4, 16), random.uniform(0, 1), random.uniform(0.5, 2)
    turns = phase + pitch * _swept(kind, time)
    clean = _SHAPES.get(kind, np.sin)(2 * np.pi * turns)
    if kind == "beating":
        clean = clean * np.cos(2 * np.pi * (2 * time + random.uniform(0, 1)))
    return (loudness * (clean + random.normal(0, 1 / 3, LENGTH))).astype(np.float32)


def _swept(kind: str, time: Array) -> Array:
    """Return the turns of a pitch of 1: it doubles over the window, or halves, or stays."""
    if kind == "rising":
        return time + np.square(time) / 2
    return time - np.square(time) / 4 if kind == "falling" else time


_SHAPES = {
    "square": lambda angle: np.sign(np.sin(angle)),
    "sawtooth": lambda angle: 2 * (angle / (2 * np.pi) % 1) - 1,
}
