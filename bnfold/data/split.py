"""The two parts of a data set."""

from enum import StrEnum


class Split(StrEnum):
    """TRAIN is learnt from and calibrated on, TEST is only measured on."""

    TRAIN = "train"
    TEST = "test"
