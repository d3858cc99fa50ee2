"""Data for training, calibration and verification, as NumPy arrays; nothing here imports torch."""

from bnfold.data.dataset import Batch, Dataset
from bnfold.data.load import load_data
from bnfold.data.split import Split
from bnfold.data.statistics import channel_statistics

__all__ = ["Batch", "Dataset", "Split", "channel_statistics", "load_data"]
