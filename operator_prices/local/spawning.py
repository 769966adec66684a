"""How a child is started that does not outlive its parent."""

import os
import sys
from collections.abc import Sequence

DIES_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Asks Linux for SIGTERM when the parent dies, then becomes the child. (A `preexec_fn` would ask
the same, but is not safe beside the threads of polars and Dagster.)"""


def dying_with_parent(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` as a child of this very process, and ends it with us on Linux.

    It ends with the thread that starts it: start it in one that lasts.
    """
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid()), *argv]
