"""``fold --no-duplicate-weights``."""

import json
from pathlib import Path

import onnx

from tests.cli.running import Run
from tests.folding.builder import Builder


def test_a_shared_weight_stays_one(bnfold: Run, tmp_path: Path) -> None:
    """Two calls with a normalization each: both go with a copy of the weight, one stays without."""
    b = Builder()
    x, weight = b.input("N", 3, 5, 4), b.normal(6, 3, 2, 2)
    first, second = (b.batch_norm(b("Conv", x, weight), 6) for _ in range(2))
    onnx.save(b.proto(b("Add", b("Relu", first), b("Sigmoid", second))), tmp_path / "source.onnx")
    kept: list[int] = []
    for flags in ([], ["--no-duplicate-weights"]):
        target = tmp_path / f"folded{len(flags)}.onnx"
        kept.append(json.loads(bnfold("fold", tmp_path / "source.onnx", "-o", target, "--json", *flags).out)["kept"])
    assert kept == [0, 1]
