"""Python runs this first in every process that a test starts, for conftest.py puts this folder on PYTHONPATH.

PyTorch brings half a million objects that stay. At Python's own settings the search for garbage looks through them over
and over: while they are made, and as the process ends. That is a third of the work of a process that judges one gate.
"""

import atexit
import gc

gc.set_threshold(10_000, 20, 10)
atexit.register(gc.freeze)
