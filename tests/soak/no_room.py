"""A disk that is full: one sentence, and the study goes on when there is room."""

import os
import subprocess

from soak.study import study_command

_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the room that the study needs


def fill(reference, place, tally):
    """Gives the study's disk more and more room; where no small disk can be mounted, its files may only be small."""
    place.mkdir(parents=True)
    needed = sum(path.stat().st_size for path in reference.place.rglob("*") if path.is_file())
    sizes = [int(share * needed) for share in _SHARES]
    if _mount(place, f"size={sizes[0]}"):
        try:
            for size in sizes:
                subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)
                _fails("full disk", reference.run(study_command(place), place), tally)
            subprocess.run(["mount", "-o", f"remount,size={20 * needed}", str(place)], check=True)
            _goes_on("full disk", reference, place, tally)
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
    else:
        tally.add("full disk", "not tried: no tmpfs can be mounted here")
        for kilobytes in (4, 16, 32):
            _fails(
                "limited files", reference.run(study_command(place), place, before=f"ulimit -f {kilobytes}; "), tally
            )
        _goes_on("limited files", reference, place, tally)


def _mount(place, options):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def _fails(provoked, ended, tally):
    if ended.has_succeeded:
        tally.add(provoked, "there was room enough")
    else:
        is_said = ended.is_sentence and "room on the disk" in ended.text
        tally.judge(provoked, "one sentence", None if is_said else ended.last_words)


def _goes_on(provoked, reference, place, tally):
    ended = reference.run(study_command(place), place)
    wrong = None if ended.has_succeeded else ended.last_words
    tally.judge(f"{provoked}, then room", "the same bits", wrong or reference.difference(place))
