"""What all tests share."""

import os

# The tests run in two processes on two cores, on tensors that are small: a second thread a process costs more in
# waiting than it brings. Set before torch or NumPy's BLAS are loaded, inherited by the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
