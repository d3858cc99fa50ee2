"""Other people's loggers and warnings, kept off the user's terminal while their code runs."""

import logging
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import numpy as np

_LOGGERS = ("onnx_ir", "onnxscript", "torch")


@contextmanager
def quiet() -> Generator[None]:
    """Silence warnings, NumPy's floating-point complaints and the loggers of the exporter and the graph passes.

    What they warn of is checked by us instead (a conversion that did not happen, a graph that does not hold together),
    and reported as an error of ours; errors that they raise pass through.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(np.errstate(all="ignore"))
        for name in _LOGGERS:
            stack.enter_context(_silenced(logging.getLogger(name)))
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _silenced(logger: logging.Logger) -> Generator[None]:
    # The level alone would not do: torch gives some of its child loggers levels of their own.
    def refuse(_: logging.LogRecord) -> bool:
        return False

    level, handlers = logger.level, list(logger.handlers)
    logger.setLevel(logging.CRITICAL + 1)
    for handler in handlers:
        handler.addFilter(refuse)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            handler.removeFilter(refuse)
