"""What a rendering process gives up before it looks at a stranger's bytes."""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
OPEN_FILES = 3  # stdin, stdout, stderr: neither a file nor a socket can be opened any more
NICENESS = 5


def outlive_nobody(parent_pid: int) -> None:
    """Die with the server (its event loop's thread, which started us), and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before we asked for the signal
        sys.exit(1)


def confine(memory_bytes: int) -> None:
    """Give up privileges, files, sockets and memory above the limit. Call when all modules are loaded."""
    os.nice(NICENESS)
    if sys.platform == "linux":
        # When the machine runs out of memory, a picture is the first to go.
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("900")
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def allow_cpu_seconds(seconds: int) -> None:
    """From now on so much CPU time; above it SIGXCPU ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
