from pathlib import Path

from bnfold.bench.operators import WARMUP, OperatorTime, by_operator, profiled
from bnfold.bench.setting import Mode, Setting
from bnfold.verify.placement import PlacedNode
from bnfold.verify.provider import Provider
from tests.verify.graphs import images, network, random_layers, saved


def test_kernels_are_added_within_runs_and_the_warm_up_is_left_out() -> None:
    """Two Convs a run make one line: their sum in each run, the median over the runs that count."""
    slow_start = [PlacedNode("a", "Conv", "cpu", seconds=9.0, run=run) for run in range(WARMUP)]
    runs = [
        node
        for run, factor in enumerate((1.0, 3.0, 2.0), start=WARMUP)
        for node in (
            PlacedNode("a", "Conv", "cpu", seconds=factor, run=run),
            PlacedNode("b", "Conv", "cpu", seconds=10 * factor, run=run),
            PlacedNode("c", "Relu", "cpu", seconds=100 * factor, run=run),
        )
    ]
    expected = (OperatorTime("Relu", 1, 200.0), OperatorTime("Conv", 2, 22.0))
    assert by_operator([*slow_start, *runs]) == expected


def test_the_runtimes_own_profile_is_read(tmp_path: Path) -> None:
    """A real session tells its kernels, each with a time, as many as the graph's Convs after the runtime's fusions."""
    layers = random_layers()
    path = saved(network(layers), tmp_path / "model.onnx")
    times = {time.operator: time for time in profiled(path, images(4), Setting(Provider.CPU, 1, 4), Mode())}
    assert sum(time.kernels for name, time in times.items() if name.endswith("Conv")) == len(layers)
    assert all(time.seconds >= 0 for time in times.values())
    assert sum(time.seconds for time in times.values()) > 0
