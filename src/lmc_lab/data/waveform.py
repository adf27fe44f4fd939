"""A clip of sound as a regression of amplitude on time: the one of SIREN (Sitzmann et al. 2020), or any wav file."""

import hashlib
import urllib.request
import warnings
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmc_lab.data.cache import Arrays, decoded_once
from lmc_lab.data.examples import Dataset, Examples
from lmc_lab.errors import UserError
from lmc_lab.files import replacing
from lmc_lab.values import NotNegative, Positive

BACH_URL = "https://raw.githubusercontent.com/vsitzmann/siren/master/data/gt_bach.wav"
BACH_SHA256 = "023940a1bcc534349e16ff46f360ffbfffa993842961dbed955c168fd2f38190"
_UNKNOWN_SIZE = 2**32 - 1  # and above: of a file that was written to a pipe


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    path: Path | None = None,
    url: str = BACH_URL,
    sha256: str = BACH_SHA256,
    start: NotNegative = 0.0,
    duration: Positive | None = None,
) -> Dataset:
    """Returns a clip: times in [-1, 1] as inputs (N, 1), amplitudes over their largest as targets (N, 1), float32.

    The scaling is that of the SIREN repository. The channels of a stereo file are averaged. There is no test set.

    Args:
        data_dir: Holds `bach/gt_bach.wav` (44.1 kHz, 7 seconds), which is downloaded there if it is missing.
        cache_dir: Holds the decoded samples.
        path: Any other wav file; `data_dir`, `url` and `sha256` are then not used.
        url: Where `bach/gt_bach.wav` is downloaded from.
        sha256: The digest that `bach/gt_bach.wav` must have.
        start: The first second of the clip.
        duration: The length of the clip in seconds, up to the end of the file for None.

    Raises:
        UserError: there is no such file and no network, or it is no whole wav file of finite samples, or the clip does not
            lie inside it, or is the same number throughout.
    """
    file = _existing(Path(path)) if path is not None else _bach(Path(data_dir) / "bach" / "gt_bach.wav", url, sha256)
    identity = f"{_sha256(file.read_bytes())} {float(start)} {None if duration is None else float(duration)}"
    name = f"waveform-{_sha256(identity.encode())[:16]}"
    decoded = decoded_once(Path(cache_dir) / name, lambda: _decode(file, start, duration))
    times, amplitudes = (torch.from_numpy(decoded.arrays[part]) for part in ("times", "amplitudes"))
    return Dataset(Examples(times, amplitudes, _as_stored), None, decoded.digest)


def _as_stored(times: Tensor) -> Tensor:
    return times


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"expected a wav file at {file.resolve()}, found none; set path to one, or to null")
    return file


def _bach(file: Path, url: str, sha256: str) -> Path:
    """Returns `file`, downloaded if it is missing, after checking its digest."""
    if not file.is_file():
        _download(file, url, sha256)
    elif (digest := _sha256(file.read_bytes())) != sha256:
        raise UserError(
            f"expected {file.resolve()} to have the sha256 {sha256[:8]}…, found {digest[:8]}…; "
            "delete it to download it again, or set path to use another wav file"
        )
    return file


def _download(file: Path, url: str, sha256: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content = response.read()
        if (digest := _sha256(content)) != sha256:
            raise OSError(f"its sha256 is {digest[:8]}…, not {sha256[:8]}…")
        with replacing(file) as temporary:
            temporary.write_bytes(content)
    except (OSError, HTTPException, ValueError) as error:  # no network, a broken connection, no url
        raise UserError(
            f"expected the Bach waveform at {file.resolve()}, found none, and cannot download {url} ({error}); "
            "put it there, or set data_dir or LMC_DATA_DIR to where bach/gt_bach.wav is, or set path to another file"
        ) from error


def _decode(file: Path, start: float, duration: float | None) -> Arrays:
    rate, samples = _read(file)
    first = round(start * rate)
    last = len(samples) if duration is None else first + round(duration * rate)
    if not 0 <= first < last - 1 < len(samples):
        raise UserError(
            f"expected start and duration inside the {len(samples) / rate:.2f} seconds of {file.name}, "
            f"found start={start}, duration={duration}; choose a clip of two samples or more"
        )
    clip = samples[first:last]
    if clip.min() == clip.max():
        raise UserError(
            f"expected sound in {file.name} from start={start} for duration={duration}, found a constant target: every "
            f"sample is {clip[0]:g}; choose another clip or file"
        )
    return {
        "times": np.linspace(-1, 1, len(clip)).astype(np.float32)[:, None],
        "amplitudes": (clip / np.abs(clip).max()).astype(np.float32)[:, None],
    }


def _read(file: Path) -> tuple[int, np.ndarray]:
    """Returns the samples per second and the samples, channels averaged, float64 (N,)."""
    from scipy.io import wavfile

    _check_whole(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, stored = wavfile.read(file)
    except Exception as error:  # ValueError, struct.error, UnboundLocalError ...: scipy does not check what it reads
        raise UserError(
            f"expected a wav file at {file.resolve()}, found none that can be read ({error}); convert it to wav (PCM or float)"
        ) from error
    samples = stored.astype(np.float64) - (128 if stored.dtype == np.uint8 else 0)  # 8-bit wav is unsigned around 128
    samples = samples if samples.ndim == 1 else samples.mean(axis=1)
    _check_samples(file, rate, samples)
    return rate, samples


def _check_whole(file: Path) -> None:
    """Refuses a file that is shorter than it says; scipy would read what is there."""
    with file.open("rb") as opened:
        kind, promised = opened.read(4), int.from_bytes(opened.read(4), "little") + 8
    size = file.stat().st_size
    if kind == b"RIFF" and size < promised < _UNKNOWN_SIZE:
        raise UserError(
            f"expected {promised} bytes in {file.resolve()}, as its header says, found {size}: it is cut off; copy it again"
        )


def _check_samples(file: Path, rate: int, samples: np.ndarray) -> None:
    if rate < 1 or not len(samples):
        raise UserError(
            f"expected samples in {file.resolve()}, found {len(samples)} at {rate} a second; choose another file"
        )
    if not np.isfinite(samples).all():
        first = int(np.argmin(np.isfinite(samples)))
        raise UserError(
            f"expected finite samples in {file.resolve()}, found {samples[first]} at sample {first} "
            f"({first / rate:.2f} s); mend the file"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
