"""Tests of ``bnfold.graph.quiet``: others' noise stays away, and only while their code runs."""

import logging
import warnings

import numpy as np
import pytest

from bnfold.graph.quiet import quiet


def test_warnings_and_loggers_are_silent_inside(capfd: pytest.CaptureFixture[str]) -> None:
    """Warnings (errors in these tests), floating-point complaints, and loggers down to their children."""
    child = logging.getLogger("onnxscript.some.part")
    with quiet():
        warnings.warn("of others", DeprecationWarning, stacklevel=1)
        assert np.isinf(np.float32(1) / np.float32(0))
        child.error("of others")
        child.critical("of others")
    assert capfd.readouterr() == ("", "")


def test_a_child_logger_with_a_level_of_its_own_is_silent_too(capfd: pytest.CaptureFixture[str]) -> None:
    """As torch sets one: the handlers of the parent would print what the child lets pass."""
    parent, child = logging.getLogger("onnxscript"), logging.getLogger("onnxscript.own.level")
    handler = logging.StreamHandler()
    parent.addHandler(handler)
    child.setLevel(logging.DEBUG)
    try:
        with quiet():
            child.warning("inside")
        child.warning("outside")
    finally:
        parent.removeHandler(handler)
        child.setLevel(logging.NOTSET)
    assert capfd.readouterr().err == "outside\n"


def test_errors_pass_and_everything_is_as_before() -> None:
    """Levels, filters and warning filters come back, also after an exception."""
    logger = logging.getLogger("torch")
    before = logger.level, list(warnings.filters), np.geterr()
    with pytest.raises(KeyError, match="of others"), quiet():
        raise KeyError("of others")
    assert before == (logger.level, list(warnings.filters), np.geterr())
