"""The paper's claims at a small size: ``python -m experiments.paper``, or ``make paper``.

Trains what `experiments.plan` lists into run folders (finished ones are kept: after an interruption, call it again),
draws the pictures of docs/paper.md and prints its tables, as ``bnfold compare`` does.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bnfold_cli.output import Output
from bnfold_cli.rendering.compare import compared
from bnfold_cli.work.compare import compare
from experiments.ensemble import members
from experiments.percentiles import draw_percentiles, drift
from experiments.plan import PICTURES, TRIALS
from experiments.training import run_folder, train_all


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
        passed = (time.monotonic() - started) / 60
        print(f"Trained in {passed:.1f} minutes, {_processor_seconds() / 60:.1f} of a core's.")
    args.images.mkdir(parents=True, exist_ok=True)
    for name, (title, trials) in PICTURES.items():
        folders = [run_folder(args.output, trial, seed) for trial in trials for seed in range(args.seeds)]
        _show(folders, args.images / name, title)
    for suffix in ("png", "svg"):
        draw_percentiles(args.output, args.images / f"figure-1bc.{suffix}")
    for seed in range(args.seeds):
        print(f"seed {seed}: {drift(args.output, seed)}")
        print(f"seed {seed}: {members(args.output, seed)}")


def _show(folders: Sequence[Path], picture: Path, title: str) -> None:
    """Print a claim's table and draw its curves; runs that diverged before they were measured are named."""
    measured = [folder for folder in folders if _is_measured(folder)]
    for folder in sorted(set(folders) - set(measured)):
        print(f"{folder}: no measurement", file=sys.stderr)
    if not measured:
        return
    plots = [picture.with_suffix(suffix) for suffix in (".png", ".svg")]
    found = compare(measured, title=title, plots=plots, force=True)
    with Output("compare") as out:
        out.result(found.to_dict(), compared(found))


def _is_measured(folder: Path) -> bool:
    metrics = folder / "metrics.jsonl"
    return metrics.is_file() and metrics.stat().st_size > 0


def _processor_seconds() -> float:
    """Return what this process and those that it has waited for have used."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
