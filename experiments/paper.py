"""The paper's claims at a small size: ``python -m experiments.paper``, or ``make paper``.

Trains what `experiments.plan` lists into run folders (finished ones are kept: after an interruption, call it again),
draws the pictures of docs/paper.md and prints its tables, as ``bnfold compare`` does.
"""

import argparse
import sys
import time
from pathlib import Path

from bnfold_cli.output import Output
from bnfold_cli.rendering.compare import compared
from bnfold_cli.work.compare import compare
from experiments.percentiles import draw_percentiles, drift
from experiments.plan import TRIALS
from experiments.training import run_folder, train_all

TITLES = {
    "figure-1": "MNIST subset, three layers of 100 sigmoids (figure 1a)",
    "rates": "The same at 1, 5 and 30 times the rate",
    "initial-weights": "The same from initial weights of other sizes",
    "dropout": "The same with BN, Dropout, both and neither",
    "variants": "Inception and its variants, an eighth of the channels, digits",
}


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("paper"), help="folder of the runs")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="folder of the pictures")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--draw-only", action="store_true", help="train nothing, draw what is there")
    args = parser.parse_args()
    started = time.monotonic()
    if not args.draw_only:
        train_all(args.output, TRIALS, args.seeds, args.processes)
        print(f"Trained in {(time.monotonic() - started) / 60:.1f} minutes.")
    args.images.mkdir(parents=True, exist_ok=True)
    for claim, title in TITLES.items():
        _show(args.output, args.images, args.seeds, claim, title)
    for suffix in ("png", "svg"):
        draw_percentiles(args.output, args.images / f"figure-1bc.{suffix}")
    for seed in range(args.seeds):
        print(f"seed {seed}: {drift(args.output, seed)}")


def _show(root: Path, images: Path, seeds: int, claim: str, title: str) -> None:
    """Print a claim's table and draw its curves; runs that diverged before they were measured are named."""
    folders = [run_folder(root, trial, seed) for trial in TRIALS if trial.claim == claim for seed in range(seeds)]
    measured = [folder for folder in folders if (folder / "metrics.jsonl").is_file()]
    measured = [folder for folder in measured if (folder / "metrics.jsonl").stat().st_size]
    for folder in sorted(set(folders) - set(measured)):
        print(f"{folder}: no measurement", file=sys.stderr)
    plots = [images / f"{claim}.{suffix}" for suffix in ("png", "svg")]
    if not measured:
        return
    found = compare(measured, title=title, plots=plots, force=True)
    with Output("compare") as out:
        out.result(found.to_dict(), compared(found))


if __name__ == "__main__":
    main()
