"""Weights from elsewhere: endpoints that were not trained here, in the files of whoever did."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.results.part import Part
from lmc_lab.runs import checkpoint
from lmc_lab.runs.weight_file import read_state_dict
from lmc_lab.tasks.state_dicts import Endpoints, endpoints_of
from lmc_lab.tasks.supervised import SupervisedTask
from lmc_lab.tasks.task import Task


@dataclass(frozen=True)
class EndpointFiles:
    """P endpoints in the order of their digests, so that neither names nor order of the files change a number."""

    names: tuple[str, ...]  # of the files, as they were given
    digests: tuple[str, ...]  # of the weights and of the data that they are measured on
    endpoints: Endpoints

    @property
    def part(self) -> Part:
        """The mode."""
        files = tuple(zip(self.names, self.digests, strict=True))
        return Part(None, branches=tuple(range(len(files))), files=files)


def read_endpoints(task: Task, patterns: Sequence[str]) -> EndpointFiles:
    """Returns the endpoints in files; one whole file is in memory at a time.

    Args:
        task: of whose model the weights are.
        patterns: paths, relative to the current folder or absolute, or patterns of such (``runs/*.pt``).

    Raises:
        UserError: there are no such files, fewer than two, two with the same weights, or one without weights of the model.
    """
    paths = [path for pattern in patterns for path in _matching(pattern)]
    if len(paths) < 2:
        found = paths[0] if paths else "none"
        raise UserError(f"expected at least 2 files in endpoints, since a hull needs P >= 2, found {found}; name more")
    module, data_digest = task.initialise(0), task.dataset.digest
    endpoints = sorted((_read(path, module, data_digest) for path in paths), key=lambda endpoint: endpoint.digests)
    for first, second in pairwise(endpoints):
        if first.digests == second.digests:
            raise UserError(
                f"expected different weights in each of endpoints, found the same in {first.names[0]} and "
                f"{second.names[0]}; leave one of them out"
            )
    return _joined(endpoints)


def _matching(pattern: str) -> list[Path]:
    """Returns the file that is called `pattern`, or those that match it, in their order."""
    path = Path(pattern).expanduser()
    matches = [path] if path.is_file() else [Path(name) for name in sorted(glob(str(path), recursive=True))]
    files = [match for match in matches if match.is_file()]
    if not files:
        what = "a folder" if path.is_dir() else "none"
        what_to_do = f"name its files: {pattern}/*.pt, say" if path.is_dir() else f"paths begin in {Path.cwd()}"
        raise UserError(f"expected files of weights at endpoints={pattern}, found {what}; {what_to_do}")
    return files


def _read(path: Path, module: SupervisedTask, data_digest: str) -> EndpointFiles:
    """Returns the one endpoint in a file, under the names of the task's module."""
    model, prefix = _with_prefix(module)
    thetas, unprefixed = endpoints_of(model, [read_state_dict(path)], [str(path)])
    buffers = {f"{prefix}{name}": values for name, values in unprefixed.items()}
    digest = checkpoint.digest_of(data_digest, {"theta": thetas, **buffers})
    return EndpointFiles((str(path),), (digest,), Endpoints(thetas, buffers))


def _with_prefix(module: SupervisedTask) -> tuple[nn.Module, str]:
    """Returns whose weights a file holds, and what stands before their names in the task's module.

    They are the model's alone, unless the loss has tensors of its own, which are part of a point, too.
    """
    prefix = "model."
    return (module.model, prefix) if all(name.startswith(prefix) for name in module.state_dict()) else (module, "")


def _joined(endpoints: Sequence[EndpointFiles]) -> EndpointFiles:
    thetas, buffers = zip(*(endpoint.endpoints for endpoint in endpoints), strict=True)
    in_all = [name for name in buffers[0] if all(name in values for values in buffers)]
    return EndpointFiles(
        names=tuple(name for endpoint in endpoints for name in endpoint.names),
        digests=tuple(digest for endpoint in endpoints for digest in endpoint.digests),
        endpoints=Endpoints(
            torch.cat(thetas), {name: torch.cat([values[name] for values in buffers]) for name in in_all}
        ),
    )
