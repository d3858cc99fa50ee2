"""What all tests share."""

import os
import signal

from hypothesis import settings

# The tests run in two processes on two cores, on tensors that are small: a second thread a process costs more in
# waiting than it brings. Set before torch or NumPy's BLAS are loaded, inherited by the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A test run says the same thing twice; `make test-slow` draws anew each time (HYPOTHESIS_PROFILE=random).
# No deadlines: the machine may be loaded, and how long an example takes is no finding.
settings.register_profile("random", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# A shell that runs the tests in the background has Ctrl-C ignored, and so it would be in the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
