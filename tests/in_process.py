"""A command of the package in the process of its test."""

import logging
import sys

from lmc_lab import cli


def run_here(monkeypatch, entry_point, arguments, job):
    """Runs `job` with the config that a program makes of `arguments`; what that changes is undone after the test."""
    monkeypatch.setattr(sys, "argv", [f"lmc-{entry_point}", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    monkeypatch.setattr(cli, "_end_with_parent", lambda: None)
    monkeypatch.setattr(cli, "_remember_interrupts", list)
    monkeypatch.setattr("lmc_lab.termination.handle_sigterm", lambda: None)
    cli.main(entry_point, job)
