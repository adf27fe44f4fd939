"""Runs commands in processes that are forked from one which has imported what they need.

A command like `python -m lmc_lab.train` spends seconds on imports of torch, Lightning and Hydra, and the suite gives hundreds.
What it finds here is what it would have imported itself; nothing of it has been called. A command is refused, and then is a
Python process of its own, if something is not as it is here that counts at an import, or that only a parent can give.
"""

import ast
import atexit
import gc
import importlib
import multiprocessing.spawn
import os
import pkgutil
import runpy
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import types
from contextlib import suppress
from dataclasses import dataclass
from fcntl import F_DUPFD, fcntl
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from stand_in import inherited
from wandb.sdk.data_types._private import MEDIA_TMP

_ENTRY_POINTS = {f"lmc_lab.{name}" for name in ("analyze", "doctor", "report", "study", "train", "tune")}
_FORK_SERVER = (
    "from multiprocessing.forkserver import main; "  # how multiprocessing starts the parent of a sweep's workers
)
# Variables that nothing reads as it is imported.
_READ_LATER = {
    *("HTTPS_PROXY", "HYDRA_FULL_ERROR", "LMC_DATA_DIR", "LMC_PARENT_PID", "NETRC"),
    *("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_SWEEP_ID"),
}
_OF_SHELL_AND_TEST = {"OLDPWD", "PWD", "PYTEST_CURRENT_TEST", "SHLVL", "_"}
_LARGEST_REQUEST, _MOST_FILES, _ABOVE_ALL_FILES = 2**18, 200, 500


def import_all():
    """Imports the suite without its entry points, which `python -m` imports, and what it imports when it runs."""
    for package in ("lmc_lab", "hydra_plugins", "hydra._internal.core_plugins"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if found.name not in _ENTRY_POINTS:
                importlib.import_module(found.name)
    for name in ("lightning.pytorch", "antlr4.LL1Analyzer", "importlib.readers"):
        importlib.import_module(name)


@dataclass(frozen=True)
class Command:
    """A command line and what its process has from the one that gave it; see `stand_in.main`."""

    arguments: list
    environment: dict
    folder: str
    mask: int
    blocked: list
    parent: int
    numbers: list
    inherited: dict

    @property
    def is_known(self):
        """Returns whether it is an entry point, or the parent of a sweep's workers."""
        flag, what = (*self.arguments[:2], "", "")[:2]
        return (flag == "-m" and what in _ENTRY_POINTS) or self._is_fork_server

    @property
    def _is_fork_server(self):
        return self.arguments[-2:-1] == ["-c"] and self.arguments[-1].startswith(_FORK_SERVER)

    def shadows(self, names):
        """Returns whether its folder has modules of these names, which it would import instead."""
        own = Path(self.folder).glob("*.py"), (path.parent for path in Path(self.folder).glob("*/__init__.py"))
        return not names.isdisjoint(path.stem for path in chain(*own))

    def become(self, files, python, added):
        """Makes this process one that has been started for the command.

        Args:
            files: those that it has open, in the order of their numbers.
            python: what it is to start for further commands.
            added: to the environment by what is imported.
        """
        os.chdir(self.folder)
        os.umask(self.mask)
        os.environ.clear()
        os.environ.update(added | self.environment)
        if "LMC_PARENT_PID" in self.environment:
            os.environ["LMC_PARENT_PID"] = str(os.getppid())  # which ends it when its stand-in ends
        _open_as(files, self.numbers)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
        np.random.seed()
        # Importing wandb makes this folder, and the first process to end would remove it from under all others.
        MEDIA_TMP.name = tempfile.mkdtemp("wandb-media")
        sys.executable = python
        multiprocessing.spawn.set_executable(python)
        importlib.invalidate_caches()

    def run(self):
        """Runs it in this process."""
        if self._is_fork_server:
            sys.argv, sys.path[0] = ["-c"], ""
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(self.arguments[-1], vars(main))
        else:
            sys.argv, sys.path[0] = ["-m", *self.arguments[2:]], self.folder
            runpy.run_module(self.arguments[1], run_name="__main__", alter_sys=True)


def _open_as(files, numbers):
    """Gives open files these numbers, and closes standard files that are not among them."""
    moved = [fcntl(file, F_DUPFD, _ABOVE_ALL_FILES) for file in files]
    for file in {*files, 0, 1, 2}:
        os.close(file)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


class Server:
    """See the module.

    Args:
        folder: in which the stand-in for Python lies, and the socket.
    """

    def __init__(self, folder):
        given = dict(os.environ)
        import_all()
        gc.collect()
        gc.freeze()  # so that no child looks at it
        self._added = {name: value for name, value in os.environ.items() if name not in given}
        self._counting, self._inherited = self._that_counts(given), inherited()
        self._imported = {name.partition(".")[0] for name in sys.modules}
        self._python = str(folder / "python")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def serve(self):
        """Forks a child for each command until the tests are over; returns in the child, with its command."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is self._listener:
                    if command := self._answer(self._listener.accept()[0]):
                        return command
                elif isinstance(key.fileobj, int):
                    self._tell_the_end(key.fileobj, *key.data)
                elif key.fileobj.fileno() >= 0:  # a client is gone before its command, which is not told of already
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    os.kill(key.data, signal.SIGKILL)

    def _that_counts(self, environment):
        """Returns the variables that imports may have read."""
        free = _READ_LATER | _OF_SHELL_AND_TEST
        own = {name: value for name, value in environment.items() if name not in free}
        return {name: value for name, value in own.items() if self._added.get(name) != value}

    def _answer(self, client):
        """Starts a client's command if it can be done here; returns it in its process, None in this one."""
        content, files, _, _ = socket.recv_fds(client, _LARGEST_REQUEST, _MOST_FILES)
        if not content:  # it is gone
            return client.close()
        command = Command(**ast.literal_eval(content.decode()))
        is_taken = self._takes(command)
        process = os.fork() if is_taken else None
        if process == 0:
            self._close(client)
            command.become(files, self._python, self._added)
            return command
        for file in files:
            os.close(file)
        with suppress(BrokenPipeError):
            client.send(b"yes" if is_taken else b"no")
        if process is None:
            client.close()
        else:
            self._selector.register(client, selectors.EVENT_READ, process)
            self._selector.register(os.pidfd_open(process), selectors.EVENT_READ, (process, client))
        return None

    def _takes(self, command):
        parent = command.environment.get("LMC_PARENT_PID", str(command.parent))
        return (
            command.is_known
            and command.inherited == self._inherited
            and self._that_counts(command.environment) == self._counting
            and parent == str(command.parent)
            and not command.shadows(self._imported)
        )

    def _tell_the_end(self, file, process, client):
        _, status = os.waitpid(process, 0)
        if client.fileno() >= 0:
            self._selector.unregister(client)
            with suppress(BrokenPipeError):
                client.send(str(status).encode())
        self._selector.unregister(file)
        client.close()
        os.close(file)

    def _close(self, client):
        """Closes in a child what is the server's."""
        for key in self._selector.get_map().values():
            if key.fileobj is sys.stdin:
                continue
            close = key.fileobj.close if isinstance(key.fileobj, socket.socket) else partial(os.close, key.fileobj)
            close()
        self._selector.close()
        client.close()


def exit_code_of(run):
    """Returns the exit code of a process that runs `run`, of which it says what Python says."""
    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def main():
    """Serves until standard input ends, which the test process holds open."""
    ends = {"code": 0}

    def leave():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ends["code"])

    atexit.register(leave)  # the last of all such functions; what comes then, taking modules apart, would take 0.7 s
    folder = Path(sys.argv[1])
    server = Server(folder)
    print("ready", flush=True)
    if command := server.serve():
        ends["code"] = exit_code_of(command.run)
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
