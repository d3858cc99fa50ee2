"""What a verification costs beside what it cannot do without; ``python -m benchmarks.verification``.

The network is the ResNet-50 of the onnx package with random weights, 224×224, folded by bnfold, on eight images. The
unit is what any comparison pays: one plain inference of both models over all images, as the runtime does it, and the
float64 evaluation of the original. The verdict adds the candidate in float64, with its weights rounded anew, the exact
fold, the node at fault, wrong candidates, edge cases and the repeated runs. Both are timed in this process, in turns:
each verification is set against the units before and behind it. Peak memory is that of the process as a whole.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.folding import by_bnfold, randomized
from bnfold.graph import load
from bnfold.verify import random_inputs, verify
from bnfold.verify.edge_cases import edge_cases
from bnfold.verify.oracle import Oracle
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays, batch_of

AIM = 4.0
"""Times the unit that a verification may take."""


def main() -> None:
    """Print the parts, the whole and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="resnet50", help="which of the light networks")
    parser.add_argument("--images", type=int, default=8, help="how many")
    parser.add_argument("--rounds", type=int, default=3, help="how often, in turns with the unit")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        original, candidate = Path(name) / "original.onnx", Path(name) / "candidate.onnx"
        randomized(arguments.network, original)
        by_bnfold(original, candidate)
        model = load(original)
        inputs = random_inputs(model, arguments.images, 0)
        units, wholes = [_unit(original, candidate, inputs)], list[float]()
        report = None
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            report = verify(original, candidate, inputs, edges=edge_cases(model, {}, 0))
            wholes.append(time.perf_counter() - start)
            units.append(_unit(original, candidate, inputs))
    assert report is not None
    table = Table("part", "seconds", title=f"{arguments.network}, {arguments.images} images: {report.verdict}")
    for part in units[0]:
        table.add_row(part, f"{median(unit[part] for unit in units):.2f}")
    totals = [sum(unit.values()) for unit in units]
    ratios = [2 * whole / (a + b) for whole, a, b in zip(wholes, totals[:-1], totals[1:], strict=True)]
    table.add_row("unit", f"{median(totals):.2f}", style="bold")
    table.add_row("verification", f"{median(wholes):.2f}", style="bold")
    each = f", by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
    table.add_row("verification / unit", f"{median(ratios):.2f} (aim: {AIM:.0f}{each})", style="bold")
    table.add_row("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    console = Console()
    console.print(table)
    for words in (
        report.diagnosis,
        report.localization and report.localization.words,
        report.mutation and report.mutation.words,
    ):
        console.print(words)


def _unit(original: Path, candidate: Path, inputs: Arrays) -> dict[str, float]:
    """Return the seconds of both inferences, session included, and of the oracle, one image at a time in each."""
    images = max(len(array) for array in inputs.values())
    plan = [slice(index, index + 1) for index in range(images)]
    seconds: dict[str, float] = {}
    for part, path in (("inference of the original", original), ("inference of the candidate", candidate)):
        start = time.perf_counter()
        with open_session(path, Provider.CPU, optimized=True) as session:
            for where in plan:
                session.run(batch_of(inputs, where))
        seconds[part] = time.perf_counter() - start
    start = time.perf_counter()
    oracle = Oracle(load(original))
    for where in plan:
        oracle.run(batch_of(inputs, where))
    seconds["float64 of the original"] = time.perf_counter() - start
    return seconds


if __name__ == "__main__":
    main()
