import pytest

from bnfold.errors import InputError
from bnfold.training.best import Monitor, make_monitor
from bnfold.training.metrics import METRICS, Metric
from bnfold.training.record import Measurement


def history(*values: float) -> list[Measurement]:
    """Return measurements with these accuracies, the losses falling with them."""
    return [
        Measurement(step, step / 2, 0.1, 1.0, 1 - value, value, 0.0, {"accuracy": value})
        for step, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_the_best_is_the_first_of_the_best(name: str) -> None:
    """Greater accuracy, smaller loss."""
    monitor = Monitor(name, greater_is_better=name != "loss")
    assert [monitor.best(history(*values)) for values in ([0.5], [0.5, 0.7, 0.7], [0.9, 0.1], [0.1, 0.2, 0.3])] == [
        0,
        1,
        0,
        2,
    ]


def test_patience_counts_from_the_best() -> None:
    """Two measurements that are not better are enough for a patience of two, equals included."""
    monitor = Monitor("accuracy", greater_is_better=True, patience=2)
    assert not monitor.gives_up([])
    assert not monitor.gives_up(history(0.5, 0.4))
    assert monitor.gives_up(history(0.5, 0.4, 0.5))
    assert not monitor.gives_up(history(0.5, 0.4, 0.6, 0.1))
    assert not Monitor("accuracy", greater_is_better=True).gives_up(history(*[0.5] * 99))


def test_the_measure_is_the_first_metric_or_the_loss() -> None:
    """Unless one is named, which has to be measured."""
    metrics: dict[str, Metric] = {"perplexity": METRICS["perplexity"], "accuracy": METRICS["accuracy"]}
    assert make_monitor(None, 3, metrics) == Monitor("perplexity", greater_is_better=False, patience=3)
    assert make_monitor("accuracy", None, metrics) == Monitor("accuracy", greater_is_better=True)
    assert make_monitor(None, None, {}) == make_monitor("loss", None, metrics) == Monitor("loss", False)
    with pytest.raises(InputError, match=r"monitor: 'acuracy' is not measured, did you mean 'accuracy'\?; loss, perpl"):
        make_monitor("acuracy", None, metrics)
