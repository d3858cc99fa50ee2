"""Weights from elsewhere: found in what trainers write, refused in a line, and never run."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.training import Run
from bnfold.training.weights import load_weights, read_state_dict
from tests.training.tiny import TinyTraining, metrics


def network(width: int = 5) -> nn.Module:
    """Return a small network with BN."""
    return nn.Sequential(nn.Linear(3, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as a wrapper names them."""
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


Wrap = Callable[[dict[str, Tensor]], object]
WRAPPED: dict[str, Wrap] = {
    "a state dict": lambda weights: weights,
    "DistributedDataParallel": lambda weights: {"state_dict": prefixed("module.", weights), "epoch": 3},
    "compiled, then replicated": lambda weights: {"model": prefixed("module._orig_mod.", weights), "optimizer": {}},
    "Lightning": lambda weights: {"state_dict": prefixed("model.", weights), "callbacks": {}},
    "nested twice": lambda weights: {"model": {"state_dict": weights}},
    "half precision": lambda weights: {name: x.half() if x.is_floating_point() else x for name, x in weights.items()},
    "before torch counted minibatches": lambda weights: {
        name: x for name, x in weights.items() if "num_batches" not in name
    },
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_state_dict_of_a_checkpoint_is_found(tmp_path: Path, kind: str) -> None:
    """Under the usual keys and prefixes, as safetensors or not, the model gets what was saved."""
    torch.manual_seed(0)
    saved, loaded = network(), network()
    torch.save(WRAPPED[kind](saved.state_dict()), tmp_path / "weights.pt")
    load_weights(loaded, tmp_path / "weights.pt")
    for name, tensor in saved.state_dict().items():
        kept = tensor.half().float() if kind == "half precision" and tensor.is_floating_point() else tensor
        assert torch.equal(loaded.state_dict()[name], kept)


def test_safetensors_are_read_as_such(tmp_path: Path) -> None:
    """The name's ending decides."""
    saved = network().state_dict()
    save_file(prefixed("module.", saved), tmp_path / "weights.safetensors")
    loaded = network()
    load_weights(loaded, tmp_path / "weights.safetensors")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.state_dict().items())


class Planted:
    """Unpickled freely, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_nothing_in_a_file_is_run(tmp_path: Path, save: Callable[[object, Path], object]) -> None:
    """A planted call, in torch's format or a bare pickle, is refused and has not happened."""
    save({"state_dict": Planted(tmp_path / "planted")}, tmp_path / "weights.pt")
    words = "weights.pt: holds more than tensors, or is no file of torch.save; nothing in it was run. Save the weights"
    with pytest.raises(InputError, match=words):
        read_state_dict(tmp_path / "weights.pt")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: network(6).state_dict(), r"0.weight is \(6, 3\), expected \(5, 3\), 1.weight is \(6,\), expected"),
        (
            lambda: {"0.weight": torch.zeros(5, 3), "extra": torch.zeros(1)},
            r"the file lacks 1.weight, 1.bias, 1.running_mean and 3 more; the model does not know extra\.",
        ),
        (lambda: {"epoch": 3, "optimizer": {}}, "no state dict: it has epoch, optimizer; expected state_dict, model"),
        (lambda: [torch.zeros(1)], "holds list, expected a state dict: tensors by name"),
        (lambda: {**network().state_dict(), "3.bias": torch.tensor([0.0, torch.inf])}, "3.bias holds values that are"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, content: Callable[[], object], message: str) -> None:
    """The first names of each kind, and what would have been expected."""
    torch.save(content(), tmp_path / "weights.pt")
    with pytest.raises(InputError, match=f"weights.pt: .*{message}"):
        load_weights(network(), tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    """Whatever torch stumbles on."""
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"weights.pt: .*torch.save"):
        read_state_dict(tmp_path / "weights.pt")


def test_weights_become_a_run_and_a_start(tiny: TinyTraining, tmp_path: Path) -> None:
    """Without a step they are measured and kept as they are; with steps, training goes on from them."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        saved = tiny.source().build().state_dict()
    path, folder = tmp_path / "weights.pt", tmp_path / "run"
    torch.save(saved, path)
    result = tiny.train(folder, settings={"steps": 0}, weights=path)
    assert (result.steps, result.final.train_loss, result.final.samples_per_second) == (0, None, None)
    found = Run.open(folder).load_model(tiny.builtins, f"{tiny.file}:build").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in found.items())
    assert json.loads((folder / "run.json").read_text())["weights"]["path"] == str(path)
    tiny.train(folder, settings={"steps": 3}, weights=path, resume=True)
    tiny.train(tmp_path / "at once", settings={"steps": 3}, weights=path)
    assert metrics(folder)[-1] == metrics(tmp_path / "at once")[-1]
    with pytest.raises(InputError, match=f"cannot resume: initial weights are random, were {path}"):
        tiny.train(folder, settings={"steps": 4}, resume=True)
    torch.save({name: tensor + 1 for name, tensor in saved.items()}, path)
    with pytest.raises(InputError, match=f"cannot resume: the content of {path} has changed"):
        tiny.train(folder, settings={"steps": 4}, weights=path, resume=True)
