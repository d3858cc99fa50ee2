"""Why a provider does not load on this machine, and what to install: asked of the loader, not of the runtime's word."""

import contextlib
import ctypes
import io
import re
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType

from bnfold.verify.provider import Provider

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_FAILED_LOAD = re.compile(r"Failed to load (?P<library>[^:]+): (?P<reason>.*)")


def what_is_missing(onnxruntime: ModuleType, provider: Provider) -> tuple[str, ...]:
    """Return what keeps ``provider`` from loading, each as a phrase that says what to do; empty if nothing is known."""
    if provider is Provider.CPU:
        return ()
    if provider.runtime_name not in onnxruntime.get_available_providers():
        built = f"the installed ONNX Runtime {onnxruntime.__version__} is built without {provider.runtime_name}"
        return (f"{built} (pip uninstall onnxruntime, then pip install 'bnfold[cuda]')",)
    missing = [*_missing_driver(), *_missing_cuda(onnxruntime)]
    if provider is Provider.TENSORRT:
        missing += _missing_tensorrt()
    return tuple(missing)


@cache
def preload(onnxruntime: ModuleType) -> tuple[str, ...]:
    """Load NVIDIA's libraries from their Python packages, once; return the names of those that cannot be loaded.

    ``preload_dlls`` reports failures by printing them; nothing of that reaches the terminal.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnxruntime.preload_dlls()
    return tuple(Path(match["library"]).name for match in _FAILED_LOAD.finditer(printed.getvalue()))


def _missing_driver() -> list[str]:
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return [f"no NVIDIA driver ({_DRIVER} not found; install the driver, or give the container access to the GPU)"]
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return ["the NVIDIA driver sees no GPU"]
    return []


def _missing_cuda(onnxruntime: ModuleType) -> list[str]:
    libraries = preload(onnxruntime)
    if not libraries:
        return []
    return [f"CUDA {onnxruntime.cuda_version} libraries {', '.join(libraries)} not found (pip install 'bnfold[cuda]')"]


def _missing_tensorrt() -> list[str]:
    names = ["nvinfer_10.dll"] if sys.platform == "win32" else ["libnvinfer.so.10", "libnvinfer.so"]
    for name in names:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return []
    return [f"TensorRT library {names[0]} not found (install TensorRT and put its libraries on the loader's path)"]
