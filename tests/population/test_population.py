"""Tests of ``bnfold.population`` as a whole."""

from bnfold import population


def test_public_names() -> None:
    """The package's face: a name that is added or lost is added or lost on purpose."""
    assert population.__all__ == [
        "CalibrationReport",
        "Estimator",
        "KeptLayer",
        "LayerStatistics",
        "Moments",
        "Reason",
        "calibrate",
        "call_model",
        "is_frozen",
    ]
    assert all(hasattr(population, name) for name in population.__all__)
