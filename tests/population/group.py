"""Processes of one gloo group, and what each of them calibrates."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler

from bnfold.errors import InputError
from bnfold.population import CalibrationReport, Estimator, calibrate
from tests.population.families import FAMILIES, SAMPLES, family, pictures

Figures = dict[str, dict[str, tuple[list[float], list[float]]]]
"""Means and variances by layer, by what was done."""

BATCH = 16


def in_processes(count: int, folder: Path, work: Callable[[int, int], Any]) -> list[Any]:
    """Return what ``work(rank, count)`` comes to in each of ``count`` processes of one group."""
    # A server that has imported torch once forks the processes.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", __name__])
    answers = context.SimpleQueue()
    arguments = (count, str(folder / "store"), work, answers)
    processes = [context.Process(target=_member, args=(rank, *arguments)) for rank in range(count)]
    for process in processes:
        process.start()
    found = dict(answers.get() for _ in processes)
    for process in processes:
        process.join()
    return [found[rank] for rank in range(count)]


def _member(rank: int, count: int, store: str, work: Callable[[int, int], Any], answers: Any) -> None:
    try:
        torch.set_num_threads(1)
        distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
        answers.put((rank, work(rank, count)))
        distributed.destroy_process_group()
    except BaseException as error:
        answers.put((rank, repr(error)))
        raise


def everything(rank: int, count: int) -> Figures:
    """Calibrate every family in every way on this process's share."""
    own = pictures()[rank::count]
    found = {name: _figures(calibrate(family(name), own.split(BATCH))) for name in FAMILIES}
    found["passes"] = _figures(calibrate(family("headed"), own.split(BATCH), forward_fn=lambda m, b: m(b)))
    sampler: DistributedSampler[int] = DistributedSampler(range(SAMPLES), count, rank, shuffle=True)  # pyright: ignore[reportArgumentType]  # a length is enough
    loader = DataLoader(pictures(), batch_size=BATCH, sampler=sampler)  # pyright: ignore[reportArgumentType]  # indexable is enough
    report = calibrate(family("residual"), loader)
    assert report.samples == SAMPLES, report.samples
    found["loader"] = _figures(report)
    uneven = pictures().split(100)[rank : rank + 1] if rank < count - 1 else pictures().split(100)[rank:]
    found["uneven"] = _figures(calibrate(family("plain"), uneven if count < 4 else [] if rank else [pictures()]))
    same = pictures()[rank * BATCH : (rank + 1) * BATCH]
    for estimator in (Estimator.POOLED, Estimator.ALGORITHM_2):
        found[estimator] = _figures(calibrate(family("plain"), [same], estimator=estimator))
    report = calibrate(family("plain"), own.split(BATCH), until_relative_error=0.3)
    assert 32 <= report.samples < SAMPLES, report.samples
    found["alone"] = _figures(calibrate(family("plain"), [pictures()], distributed=False))
    return found


def one_fails(rank: int, count: int) -> str:
    """Return what the processes say when the last one meets NaN."""
    values = pictures()[:BATCH] * (torch.nan if rank == count - 1 else 1)
    try:
        calibrate(family("plain"), [values])
    except InputError as error:
        return str(error)
    return "nothing"


def _figures(report: CalibrationReport) -> dict[str, tuple[list[float], list[float]]]:
    return {layer.name: (layer.new_mean.tolist(), layer.new_variance.tolist()) for layer in report.layers}
