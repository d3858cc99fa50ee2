"""The ensemble beside its members (section 4.2.3), over the test images."""

from pathlib import Path

from torch import nn

from bnfold.data import Split, load_data
from bnfold.training import Run, evaluate
from bnfold_cli.samples import builtin_models
from experiments.plan import ENSEMBLE
from experiments.training import run_folder


def members(root: Path, seed: int) -> dict[str, float | list[float]]:
    """Return the accuracy of the averaged probabilities, and of each member by itself."""
    run = Run.open(run_folder(root, ENSEMBLE[0], seed))
    model, data = run.load_model(builtin_models()), load_data(run.data_spec, Split.TEST)
    networks = model.get_submodule("members")
    assert isinstance(networks, nn.ModuleList)
    every = [evaluate(network, data, len(data)).accuracy for network in networks]
    # What is averaged are probabilities, of which the largest is as good as the largest score.
    return {"ensemble": evaluate(model, data, len(data)).accuracy, "members": every}
