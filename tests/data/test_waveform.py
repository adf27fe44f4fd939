import hashlib
import http.client
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from lmc_lab.data.waveform import load
from lmc_lab.errors import UserError

RATE = 1000
DATA_DIR = Path(os.environ.get("LMC_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))


def write_wav(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, RATE, samples)
    return path


def tone(num_samples: int = 2 * RATE) -> np.ndarray:
    return (0.25 * np.sin(np.arange(num_samples) / 7)).astype(np.float32)


def test_times_and_amplitudes_span_minus_one_to_one(tmp_path):
    file = write_wav(tmp_path / "tone.wav", tone())
    dataset = load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file)
    times, amplitudes = dataset.train.batch(slice(None))
    assert times.shape == amplitudes.shape == (2 * RATE, 1)
    assert times.dtype == amplitudes.dtype == torch.float32
    assert (times[0], times[-1]) == (-1, 1)
    assert times.diff(dim=0).min() > 0
    np.testing.assert_allclose(amplitudes[:, 0], tone() / np.abs(tone()).max(), rtol=1e-6)
    assert dataset.test is None


def test_a_clip_is_cut_before_it_is_scaled(tmp_path):
    samples = tone()
    samples[RATE:] *= 0.5
    file = write_wav(tmp_path / "tone.wav", samples)
    clip = load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file, start=1.2, duration=0.3).train
    expected = samples[1200:1500]
    np.testing.assert_allclose(clip.targets[:, 0], expected / np.abs(expected).max(), rtol=1e-6)
    assert (clip.inputs[0], clip.inputs[-1]) == (-1, 1)


def test_clips_of_one_file_have_their_own_cache_and_digest(tmp_path):
    file = write_wav(tmp_path / "tone.wav", tone())

    def digest(**clip: float) -> str:
        return load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file, **clip).digest

    assert len({digest(), digest(duration=1), digest(start=0.5, duration=1)}) == 3
    assert digest(duration=1) == digest(duration=1.0)


def test_a_changed_file_is_decoded_again(tmp_path):
    def targets(samples: np.ndarray) -> torch.Tensor:
        file = write_wav(tmp_path / "tone.wav", samples)
        return load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file).train.targets

    assert not torch.equal(targets(tone()), targets(tone()[::-1]))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
def test_integer_files_give_the_same_amplitudes(tmp_path, dtype):
    limits = np.iinfo(dtype)
    middle = 128 if dtype == np.uint8 else 0
    stored = np.round(tone().astype(np.float64) / np.abs(tone()).max() * (limits.max - middle)) + middle
    file = write_wav(tmp_path / "tone.wav", stored.astype(dtype))
    found = load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file).train.targets
    np.testing.assert_allclose(found[:, 0], tone() / np.abs(tone()).max(), atol=1 / (limits.max - middle))


def test_stereo_is_averaged(tmp_path):
    left, right = tone(), tone()[::-1]
    file = write_wav(tmp_path / "stereo.wav", np.stack([left, right], axis=1))
    found = load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file).train.targets
    mean = (left + right) / 2
    np.testing.assert_allclose(found[:, 0], mean / np.abs(mean).max(), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.zeros(0, np.float32), "expected samples in .*sound.wav, found 0"),
        (np.zeros(50, np.float32), "found a constant target: every sample is 0"),
        (np.full(50, 0.3, np.float32), "found a constant target: every sample is 0.3"),
        (np.float32([0.1, 0.2, np.nan, 0.1]), r"found nan at sample 2 \(0.00 s\)"),
        (np.float32([[0.1, 0.2], [0.1, -np.inf]]), "found -inf at sample 1"),
    ],
)
def test_a_wav_of_no_use_is_refused_with_its_name(tmp_path, samples, expected):
    file = write_wav(tmp_path / "sound.wav", samples)
    with pytest.raises(UserError, match=expected) as error:
        load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file)
    assert "sound.wav" in str(error.value)


def test_a_constant_clip_of_a_file_that_is_not_is_refused(tmp_path):
    file = write_wav(tmp_path / "sound.wav", np.concatenate([np.zeros(RATE, np.float32), tone()]))
    with pytest.raises(UserError, match="constant target"):
        load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file, duration=0.5)


def test_a_truncated_wav_is_refused_wherever_it_is_cut(tmp_path):
    whole = write_wav(tmp_path / "whole.wav", tone(100)).read_bytes()
    for size in range(0, len(whole), 3):
        (tmp_path / "cut.wav").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"cut\.wav"):
            load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=tmp_path / "cut.wav")


@pytest.mark.filterwarnings("error")
def test_a_wav_with_a_flipped_bit_is_read_or_refused_in_one_sentence(tmp_path):
    whole = write_wav(tmp_path / "whole.wav", tone(40)).read_bytes()
    for bit in range(8 * 48):  # the header, and a sample
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped.wav").write_bytes(content)
        try:
            clip = load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=tmp_path / "flipped.wav").train
            assert clip.targets.isfinite().all()
        except UserError as error:
            assert str(error).startswith("expected") and "\n" not in str(error)


def test_a_wav_written_to_a_pipe_does_not_know_its_size(tmp_path):
    file = write_wav(tmp_path / "pipe.wav", tone())
    content = bytearray(file.read_bytes())
    content[4:8] = b"\xff" * 4
    file.write_bytes(content)
    assert len(load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file).train) == 2 * RATE


def test_an_encoding_that_is_not_read_is_refused(tmp_path):
    file = write_wav(tmp_path / "mulaw.wav", tone())
    content = bytearray(file.read_bytes())
    content[20:22] = (7).to_bytes(2, "little")  # mu-law
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"mulaw\.wav.*MULAW.*convert it to wav"):
        load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file)


def test_a_broken_connection_is_one_sentence(tmp_path, monkeypatch):
    def broken(*arguments, **keywords):
        raise http.client.IncompleteRead(b"half", 100)

    monkeypatch.setattr("urllib.request.urlopen", broken)
    with pytest.raises(UserError, match="cannot download .*IncompleteRead"):
        load(data_dir=tmp_path, cache_dir=tmp_path)
    with pytest.raises(UserError, match="cannot download nowhere"):
        monkeypatch.undo()
        load(data_dir=tmp_path, cache_dir=tmp_path, url="nowhere")


def test_a_missing_clip_is_downloaded_once_and_checked(tmp_path):
    source = write_wav(tmp_path / "server.wav", tone())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()

    def download(sha256: str) -> int:
        return len(load(data_dir=tmp_path / "data", cache_dir=tmp_path, url=source.as_uri(), sha256=sha256).train)

    with pytest.raises(UserError, match="cannot download"):
        download("0" * 64)
    assert download(digest) == 2 * RATE
    source.unlink()
    assert download(digest) == 2 * RATE


def test_no_data_and_no_network_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="expected the Bach waveform at .*LMC_DATA_DIR"):
        load(data_dir=tmp_path, cache_dir=tmp_path, url=(tmp_path / "nowhere").as_uri())


def test_another_file_in_place_of_the_bach_clip_is_refused(tmp_path):
    write_wav(tmp_path / "bach" / "gt_bach.wav", tone())
    with pytest.raises(UserError, match="sha256"):
        load(data_dir=tmp_path, cache_dir=tmp_path)


@pytest.mark.parametrize("clip", [{"start": -1.0}, {"start": 2.0}, {"start": 1.5, "duration": 1.0}, {"duration": 0.0}])
def test_a_clip_outside_the_file_is_refused(tmp_path, clip):
    file = write_wav(tmp_path / "tone.wav", tone())
    with pytest.raises(UserError, match=r"2\.00 seconds"):
        load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path=file, **clip)


def test_what_is_no_wav_file_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no sound here")
    with pytest.raises(UserError, match="convert it"):
        load(data_dir=tmp_path, cache_dir=tmp_path, path=tmp_path / "text.wav")
    with pytest.raises(UserError, match="found none"):
        load(data_dir=tmp_path, cache_dir=tmp_path, path=tmp_path / "absent.wav")


@pytest.mark.skipif(not (DATA_DIR / "bach" / "gt_bach.wav").exists(), reason="the Bach clip is not in LMC_DATA_DIR")
def test_the_bach_clip_has_seven_seconds(tmp_path):
    clip = load(data_dir=DATA_DIR, cache_dir=tmp_path).train
    assert len(clip) == 308207
    assert clip.targets.abs().max() == 1
