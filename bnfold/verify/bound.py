"""A call whose inputs and outputs lie in the provider's memory, at the same addresses every time."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy.typing as npt


class BoundCall:
    """One ONNX Runtime session with everything bound; a call ends when the outputs are there.

    Args:
        session: ONNX Runtime's own.
        binding: ONNX Runtime's binding, complete.
        names: of the outputs, in the binding's order.
        runtime: the context that the runtime's code runs in.
    """

    def __init__(
        self, session: Any, binding: Any, names: Sequence[str], runtime: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._session, self._binding = session, binding
        self._names = tuple(names)
        self._runtime = runtime

    def __call__(self) -> None:
        """Run the model once; raises what `Session.run` does."""
        with self._runtime():
            self._session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of what the last call has computed."""
        with self._runtime():
            return dict(zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True))
