"""What a verification ran with: versions, platform and device, for the report."""

import contextlib
import ctypes
import platform
import sys
from collections.abc import Mapping
from importlib import metadata

DISTRIBUTIONS = ("bnfold", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "numpy")

DEVICE_KEYS = ("cuda", "cudnn", "driver", "device")
"""Versions of the CUDA and cuDNN libraries that are loaded, of CUDA that the driver is for, and the device's name."""

_WINDOWS = sys.platform == "win32"


def environment(device: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the versions of the distributions that took part and are installed, of Python, and the platform's name.

    ``device`` is what `device` found in the process that ran on one; None stands for what took no part.
    """
    versions = {name: version for name in DISTRIBUTIONS if (version := _version(name))}
    here = {"python": platform.python_version(), "platform": platform.platform()}
    return {**versions, **here, **{key: device.get(key) for key in DEVICE_KEYS}}


def device() -> dict[str, str | None]:
    """Ask the libraries that this process can load; only for a process that works on a device.

    The driver is loaded and started by this, and can crash doing so.
    """
    found: dict[str, str | None] = dict.fromkeys(DEVICE_KEYS)
    found["cuda"] = _cuda_version(_library("cudart64_13.dll", "cudart64_12.dll", "libcudart.so.13", "libcudart.so.12"))
    found["cudnn"] = _cudnn_version(_library("cudnn64_9.dll", "libcudnn.so.9"))
    driver = _library("nvcuda.dll", "libcuda.so.1")
    if driver is not None and driver.cuInit(0) == 0:
        version, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
        if driver.cuDriverGetVersion(ctypes.byref(version)) == 0:
            found["driver"] = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
        handle = ctypes.c_int(0)
        if driver.cuDeviceGet(ctypes.byref(handle), 0) == 0 and driver.cuDeviceGetName(name, 256, handle) == 0:
            found["device"] = name.value.decode(errors="replace")
    return found


def _cuda_version(library: ctypes.CDLL | None) -> str | None:
    version = ctypes.c_int(0)
    if library is None or library.cudaRuntimeGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _cudnn_version(library: ctypes.CDLL | None) -> str | None:
    """Return major.minor.patch; since version 9 the number is major·10000 + minor·100 + patch."""
    if library is None:
        return None
    library.cudnnGetVersion.restype = ctypes.c_size_t
    version: int = library.cudnnGetVersion()
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def _library(*names: str) -> ctypes.CDLL | None:
    """Return the first of the libraries of this platform that the loader knows."""
    for name in names:
        if name.endswith(".dll") == _WINDOWS:
            with contextlib.suppress(OSError):
                return ctypes.CDLL(name)
    return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
