"""What ``bnfold doctor`` tries, one trial a process: ``python -m bnfold_cli.work.trials NAME`` prints one JSON line.

A broken driver or library can crash or hang the process that touches it, and what is loaded cannot be unloaded.
"""

import ctypes
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bnfold.errors import BnfoldError

if TYPE_CHECKING:
    from bnfold.verify.provider import Provider

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def main(name: str) -> None:
    """Try one thing and print whether it works, and what there is to say about it."""
    try:
        works, detail = True, _trial(name)()
    except (BnfoldError, ImportError, OSError) as error:
        works, detail = False, " ".join(str(error).split()).removeprefix(f"--provider {name}: ")
    sys.stdout.write(json.dumps({"works": works, "detail": detail}) + "\n")


def try_provider(provider: "Provider") -> str:
    """Run a small matrix product on ``provider``, by the door that ``verify`` uses, and hold it to NumPy's.

    Raises:
        BnfoldError: the provider does not load, the work ran elsewhere, or the result is wrong.
    """
    import numpy as np

    from bnfold.verify.attestation import attest
    from bnfold.verify.runtime import open_session

    generator = np.random.default_rng(0)
    x, w = (generator.integers(-8, 8, (5, 5)).astype(np.float32) for _ in range(2))
    with open_session(_matrix_product(), provider, optimized=False, record=True) as session:
        y = session.run({"x": x, "w": w})["y"]
        findings = attest(provider, session.placement)
    if findings:
        raise BnfoldError("; ".join(findings))
    if not np.array_equal(y, x @ w):  # products and sums of small integers are exact in every precision
        raise BnfoldError(f"a product of 5 by 5 matrices is wrong by up to {np.abs(y - x @ w).max()}")
    return "a matrix product ran there, and is right"


def try_torch() -> str:
    """Import torch and tell which GPU it sees.

    Raises:
        ImportError: torch is not installed, or its libraries are not found.
    """
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"imports; {gpu}, built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'the CPU'}"


def try_driver() -> str:
    """Ask NVIDIA's driver for its version and its devices.

    Raises:
        OSError: there is no driver.
        BnfoldError: it does not start, or sees no GPU.
    """
    driver = ctypes.CDLL(_DRIVER)
    version, devices = ctypes.c_int(0), ctypes.c_int(0)
    code = driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version))
    if code or driver.cuDeviceGetCount(ctypes.byref(devices)) or not devices.value:
        raise BnfoldError(f"the driver is there, but sees no GPU (error {code})")
    return f"CUDA {version.value // 1000}.{version.value % 1000 // 10}, {devices.value} GPU(s)"


def _trial(name: str) -> Callable[[], str]:
    if name == "torch":
        return try_torch
    if name == "driver":
        return try_driver
    from bnfold.verify.provider import Provider

    return lambda: try_provider(Provider(name))


def _matrix_product() -> bytes:
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5, 5]) for name in ("x", "w", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], "trial", ports[:2], ports[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


if __name__ == "__main__":
    main(sys.argv[1])
