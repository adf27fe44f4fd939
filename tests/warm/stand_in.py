"""What a test's shell finds as `python`: has the warm server run a command, or becomes the real Python.

It is started for each command, so it imports little, and runs without site packages.
"""

import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress

_SECONDS_BETWEEN_LOOKS = 0.5  # at whether the parent is there, as in `lmc_lab.cli`


def inherited():
    """Returns what a process has from the one that started it and what the server cannot give to its children."""
    limits = sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")})
    return {
        "session": os.getsid(0),
        "group": os.getpgrp(),
        "user": os.geteuid(),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": sorted(os.sched_getaffinity(0)),
        "limits": [list(resource.getrlimit(number)) for number in limits],
        "ignored": sorted(int(s) for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN),
    }


def main():
    real, address, *arguments = sys.argv[1:]
    parent = os.getppid()
    numbers = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_passed_on(fd)]
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "mask": _umask(),
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "parent": parent,
        "numbers": numbers,
        "inherited": inherited(),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        if not _is_accepted(server, address, request):
            os.execv(real, [real, *arguments])
        while not select.select([server], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
            if "LMC_PARENT_PID" in os.environ and os.getppid() != parent:
                sys.exit(1)  # as the suite does; the server then ends the command
        _end_as(int(server.recv(16) or signal.SIGKILL))


def _is_passed_on(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:  # of the folder that was listed
        return False


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _is_accepted(server, address, request):
    try:
        server.connect(address)
        socket.send_fds(server, [repr(request).encode()], request["numbers"])
        return server.recv(16) == b"yes"
    except OSError:  # there is none, or the request is too large
        return False


def _end_as(status):
    """Ends this process as the command has ended, which may be by a signal."""
    if os.WIFSIGNALED(status):
        with suppress(OSError):  # of SIGKILL, which has no handler
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
