"""``bnfold verify``: a bundle against its golden data, or one ONNX file against another."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold_cli.work.files import require_distinct, require_file_output, write_json
from bnfold_cli.work.sources import require_numbers

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from bnfold.verify import VerificationReport

SAMPLES = 64
"""Samples where the user asks for no number: random ones where there is no data, golden ones of a bundle."""


def verify(
    subject: Path,
    candidate: Path | None = None,
    *,
    provider: str = "cpu",
    data: str | None = None,
    samples: int | None = None,
    seed: int | None = None,
    report: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> "VerificationReport":
    """Return the verdict on a bundle, or on ``candidate`` in the light of ``subject``.

    Args:
        subject: a bundle folder; with ``candidate`` the ONNX file that says what is right.
        candidate: the ONNX file that is to be the same function.
        provider: name of a `bnfold.verify.Provider`.
        data: what to compare on (its test split); random values by default. A bundle brings its own.
        samples: how many of them; None for all of the data, or `SAMPLES` random ones.
        seed: of the random values.
        report: where to write the report as JSON.
        force: replace a report that is there.
        progress: told of every batch.

    Raises:
        InputError: no such bundle or file, graphs that are not comparable, data that does not fit.
        AttestationError: the provider cannot be loaded here.
    """
    if report is not None:
        require_file_output(report, force=force)
        require_distinct(subject, report)
        require_distinct(candidate, report)
    from bnfold.verify import Provider, verify_bundle
    from bnfold.verify import verify as verify_files

    if candidate is None:
        _require_bundle(subject, given={"--data": data, "--samples": samples, "--seed": seed})
        result = verify_bundle(subject, provider=Provider(provider), progress=progress)
    else:
        from bnfold.graph import load

        original = load(subject)
        require_numbers(original, subject)
        inputs = sample_inputs(original, data=data, samples=samples, seed=seed or 0)
        result = verify_files(subject, candidate, inputs, provider=Provider(provider), progress=progress)
    if report is not None:
        write_json(result.to_dict(), report)
    return result


def sample_inputs(
    model: "ir.Model", *, data: str | None, samples: int | None, seed: int, at_most: int | None = None
) -> "dict[str, np.ndarray[Any, Any]]":
    """Return inputs for ``model``: the test split of ``data``, or standard-normal values.

    ``samples`` are as many as asked for; where it is None, all of the data is taken, or ``at_most`` of it.

    Raises:
        InputError: no such data, fewer samples than asked for, or inputs that the model does not take.
    """
    from bnfold.verify import random_inputs
    from bnfold.verify.signature import Signature, check_inputs

    if data is None:
        return random_inputs(model, samples or SAMPLES, seed)
    from bnfold.data import Split, load_data

    dataset = load_data(data, Split.TEST)
    count = samples or min(len(dataset), at_most or len(dataset))
    inputs = dict(dataset.take(count).inputs)
    try:
        check_inputs(Signature.of(model), inputs)
    except InputError as error:
        raise InputError(f"--data {data}: {error}") from error
    return inputs


def _require_bundle(folder: Path, *, given: Mapping[str, object]) -> None:
    if folder.is_file():
        raise InputError(f"{folder}: a file; name a second one to compare it with, or give a bundle folder.")
    needless = [name for name, value in given.items() if value is not None]
    if needless:
        raise InputError(f"{', '.join(needless)}: a bundle is held to its own golden data; leave it out.")
