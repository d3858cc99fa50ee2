"""One candidate in one session: every batch in turn, whose shapes change, and where the work was done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnfold.errors import AttestationError, InputError, NoKernelError
from bnfold.progress import Progress
from bnfold.verify.configuration import Configuration
from bnfold.verify.placement import Placement
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays


@dataclass(frozen=True)
class Run:
    """The outputs of each batch that ran, where it ran, or why the next one failed.

    ``device`` holds the versions of a device's libraries and driver and its name, as far as they are known.
    """

    batches: tuple[Arrays, ...]
    placement: Placement
    failure: str | None = None
    device: Mapping[str, str | None] = field(default_factory=dict[str, str | None])


def run_here(
    path: Path,
    configuration: Configuration,
    batches: Sequence[Arrays],
    progress: Progress,
    description: str = "",
) -> Run:
    """Run a model in one optimized session over all batches and record where it runs; it ends at the first failure.

    Raises:
        InputError: ONNX Runtime cannot load the model.
        AttestationError: the provider cannot be loaded, lacks an operator, or fails while it runs.
    """
    try:
        opened = open_session(path, configuration.provider, optimized=True, record=True, tf32=configuration.tf32)
    except NoKernelError as error:
        raise AttestationError(f"--provider {configuration.provider}: nothing ran there: {error}") from error
    with opened as session:
        outputs: list[Arrays] = []
        for batch in progress(batches, description=description, total=len(batches)):
            try:
                outputs.append(session.run(batch))
            except InputError as error:
                return Run(tuple(outputs), session.placement, str(error))
        return Run(tuple(outputs), session.placement)
