"""Examples that all endpoints of a mode have right, and those on which they differ, as pictures or curves on the page."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from lmc_lab.results.folder import Result

_SUBSETS = {"test": "test set", "train": "training set"}
_MOST = 12  # of each kind and mode
_WIDTH, _HEIGHT = 60, 36  # of a curve's picture

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Shown:
    """Examples of one mode."""

    title: str
    key: str  # of the task and the subset: examples of one key and index are the same
    inputs: Array  # (n, ...)
    index: Array  # (n,) which of the subset they are
    target: Array  # (n,)
    num_right: Array  # (n,) endpoints
    num_endpoints: int


def examples_section(results: Sequence[Result]) -> str:
    """Returns the section of the page, nothing where no result keeps examples that can be shown."""
    modes = [mode for result in results if result.records for mode in _modes(result, result.records)]
    pictures: dict[str, str] = {}
    shown = [text for mode in modes if (text := _mode(mode, pictures))]
    if not shown:
        return ""
    symbols = "".join(
        f'<symbol id="{name}" viewBox="0 0 60 36">{picture}</symbol>' for name, picture in pictures.items()
    )
    return (
        '<section id="examples"><h2>Examples</h2><p class="caption">Some of the examples that all endpoints of a mode have '
        "right, and of those that not all have right. The label is the target, behind it how many endpoints are right.</p>"
        f'<svg class="store" aria-hidden="true">{symbols}</svg>{"".join(shown)}</section>'
    )


def _modes(result: Result, records: Path) -> Iterator[_Shown]:
    try:
        tensors = load(records.read_bytes())
    except (OSError, SafetensorError):  # it went, or was damaged, after it was compared with its digest
        return
    row = result.rows.iloc[0]
    for subset, name in _SUBSETS.items():
        if f"{subset}_examples" in tensors:
            yield _Shown(
                f"{row['task']}, trunk {row['trunk']}, k = {row['split_step']}, {name}",
                f"{row['task']}-{subset}",
                tensors[f"{subset}_examples"],
                tensors[f"{subset}_examples_index"],
                tensors[f"{subset}_examples_target"],
                tensors[f"{subset}_examples_num_right"],
                int(row["num_endpoints"]),
            )


def _mode(mode: _Shown, pictures: dict[str, str]) -> str:
    """Returns what is shown of a mode, and keeps each picture once for all of them."""
    is_right = mode.num_right == mode.num_endpoints
    strips = [
        (f"right by all {mode.num_endpoints}", np.flatnonzero(is_right)),
        ("not right by all", np.flatnonzero(~is_right)),
    ]
    parts = []
    for heading, positions in strips:
        cells = "".join(_cell(mode, position, pictures) for position in positions[:_MOST])
        parts.append(f'<p>{heading}</p><div class="examples">{cells}</div>' if cells else "")
    return f"<details><summary>{escape(mode.title)}</summary>{''.join(parts)}</details>" if any(parts) else ""


def _cell(mode: _Shown, position: int, pictures: dict[str, str]) -> str:
    name = f"{escape(mode.key, quote=True)}-{mode.index[position]}".replace(" ", "_")
    if name not in pictures:
        drawn = _drawn(mode.inputs[position])
        if drawn is None:
            return ""
        pictures[name] = drawn
    target = mode.target[position]
    text = f"{target} · {mode.num_right[position]} of {mode.num_endpoints}"
    label = f"example {mode.index[position]}, target {target}, {mode.num_right[position]} of {mode.num_endpoints} right"
    return f'<figure><svg role="img" aria-label="{label}"><use href="#{name}"/></svg><figcaption>{text}</figcaption></figure>'


def _drawn(example: Array) -> str | None:
    """Returns an example as a curve (L,) or a picture (H, W), (H, W, 3), (1 or 3, H, W); None: it is neither."""
    if example.ndim == 1:
        return _curve(example)
    picture = _as_picture(example)
    if picture is None:
        return None
    box = f'x="{(_WIDTH - _HEIGHT) / 2:g}" width="{_HEIGHT}" height="{_HEIGHT}"'
    return f'<image {box} href="data:image/png;base64,{_png(picture)}"/>'


def _curve(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    across = np.linspace(1, _WIDTH - 1, len(values))
    down = _HEIGHT - 2 - (values - low) / ((high - low) or 1) * (_HEIGHT - 4)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    return f'<polyline class="curve" points="{points}"/>'


def _as_picture(example: Array) -> Array | None:
    """Returns bytes (H, W) or (H, W, 3)."""
    if example.ndim == 3 and example.shape[0] in (1, 3) and example.shape[-1] not in (1, 3):
        example = np.moveaxis(example, 0, -1)
    if example.ndim == 3 and example.shape[-1] == 1:
        example = example[..., 0]
    if example.ndim != 2 and example.shape[2:] != (3,):
        return None
    if example.dtype != np.uint8:
        low, high = float(example.min()), float(example.max())
        example = ((example - low) / ((high - low) or 1) * 255).astype(np.uint8)
    return example


def _png(picture: Array) -> str:
    from PIL import Image  # here, since most reports have curves, or none

    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()
