"""Data sets composed from what installed packages carry: real digits, text and a graph, and formulas; no download.

Each is a function of the split alone: the draws have seeds of their own, and the test split shares no source with the
training split.
"""

from collections.abc import Callable, Mapping

from bnfold.data.composed.karate_club import karate_club
from bnfold.data.composed.point_digits import point_digits
from bnfold.data.composed.python_text import python_text
from bnfold.data.composed.scattered_digits import scattered_boxes, scattered_classes, scattered_masks
from bnfold.data.composed.waveforms import waveforms
from bnfold.data.dataset import Dataset
from bnfold.data.split import Split

__all__ = ["COMPOSED"]

COMPOSED: Mapping[str, Callable[[Split], Dataset]] = {
    "karate-club": karate_club,
    "point-digits": point_digits,
    "python-text": python_text,
    "scattered-boxes": scattered_boxes,
    "scattered-classes": scattered_classes,
    "scattered-masks": scattered_masks,
    "waveforms": waveforms,
}
"""From the name after ``--data`` to the data set."""
