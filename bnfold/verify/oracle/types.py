"""Names for the arrays that the oracle computes with."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
"""A tensor of the float64 graph."""

Value = npt.NDArray[Any]
"""Any tensor of the graph: float64, integer, boolean or string."""
