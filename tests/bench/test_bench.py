import json
from itertools import product
from pathlib import Path

import pytest

import bnfold.bench as public
from bnfold.bench import Bench, BenchReport, Entry, Mode, Setting, bench
from bnfold.bench.plot import draw, require_plot
from bnfold.errors import InputError
from bnfold.verify.provider import Provider
from tests.verify.graphs import images, network, random_layers, right, saved

PLAN = Bench(threads=(1, 2), rounds=4, warmup=1, starts=1)


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """A network, its fold, and the network again."""
    folder, layers = tmp_path_factory.mktemp("bench"), random_layers()
    feeds = (images(1), images(3))
    one, two = saved(network(layers), folder / "one.onnx"), saved(network(layers, right), folder / "two.onnx")
    return [Entry("one", one, feeds), Entry("two", two, feeds), Entry("three", one, feeds)]


@pytest.fixture(scope="module")
def report(entries: list[Entry]) -> BenchReport:
    """Three models at two numbers of threads and two batches."""
    return bench(entries, PLAN)


def test_every_model_is_measured_in_every_setting(report: BenchReport) -> None:
    """Settings are the providers times the threads times the batches; pairs are every two models."""
    settings = [Setting(Provider.CPU, threads, batch) for threads, batch in product((1, 2), (1, 3))]
    assert [measurement.setting for measurement in report.measurements] == settings
    for measurement in report.measurements:
        assert list(measurement.seconds) == ["one", "two", "three"]
        assert all(spread.lowest > 0 for spread in measurement.seconds.values())
        pairs = [(pair.model, pair.over) for pair in measurement.pairs]
        assert pairs == [("two", "one"), ("three", "one"), ("three", "two")]
        rate = measurement.setting.batch / measurement.seconds["two"].median
        assert measurement.throughput("two") == rate


def test_starts_and_operators_are_at_the_first_setting(report: BenchReport) -> None:
    """Each model is started and profiled once a provider; a fold has no more kernels than its original."""
    assert [startup.model for startup in report.startups] == ["one", "two", "three"]
    assert {profile.setting for profile in report.profiles} == {Setting(Provider.CPU, 1, 1)}
    kernels = {profile.model: sum(time.kernels for time in profile.operators) for profile in report.profiles}
    assert 0 < kernels["two"] <= kernels["one"] == kernels["three"]


def test_the_report_is_json(report: BenchReport) -> None:
    """All figures survive; each unclear pair has its note."""
    document = json.loads(json.dumps(report.to_dict()))
    found = document["measurements"][3]
    assert (found["provider"], found["threads"], found["batch"]) == ("cpu", 2, 3)
    assert found["models"]["two"]["seconds"]["median"] == report.measurements[3].seconds["two"].median
    unclear = [
        pair for each in document["measurements"] for pair in each["pairs"] if pair["difference"] == "cannot-tell"
    ]
    assert len(document["notes"]) == len(unclear)
    assert set(document["models"]["one"]) == {"path", "bytes"}


def test_bound_calls_compute_the_same_and_are_measured(entries: list[Entry]) -> None:
    """With inputs and outputs bound there is a time for each model, and no starts where none are asked for."""
    found = bench(entries[:2], Bench(mode=Mode(io_binding=True), rounds=2, warmup=0, starts=0))
    assert all(spread.lowest > 0 for measurement in found.measurements for spread in measurement.seconds.values())
    assert found.startups == ()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_picture_is_of_its_kind(report: BenchReport, tmp_path: Path, suffix: str) -> None:
    """The file starts as such files do; an SVG holds every model's name."""
    path = tmp_path / f"bench{suffix}"
    require_plot(path)
    draw(report, path)
    start = path.read_bytes()[:5]
    assert {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix] in start
    if suffix == ".svg":
        assert all(f"<!-- {name} -->" in path.read_text() for name in report.models)


def test_a_picture_of_another_kind_is_refused() -> None:
    """Before anything is measured."""
    with pytest.raises(InputError, match=r"bench\.txt: expected a picture"):
        require_plot(Path("bench.txt"))


def test_nothing_to_compare_is_refused(entries: list[Entry]) -> None:
    """No model, or two of one name; a CUDA graph on the CPU."""
    with pytest.raises(InputError, match="expected models"):
        bench([])
    with pytest.raises(InputError, match="each of another name"):
        bench([entries[0], entries[0]])
    with pytest.raises(InputError, match="CUDA graphs"):
        Bench(mode=Mode(io_binding=True, cuda_graph=True))
    with pytest.raises(InputError, match="CUDA graphs"):
        Bench(providers=(Provider.CUDA,), mode=Mode(cuda_graph=True))


def test_public_names() -> None:
    """What the package promises, and no heavy import for it."""
    assert set(public.__all__) == {
        "Bench",
        "BenchReport",
        "Entry",
        "Latency",
        "LatencyReport",
        "Mode",
        "Setting",
        "bench",
        "measure_latency",
    }
    assert all(hasattr(public, name) for name in public.__all__)
