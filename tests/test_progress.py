import subprocess
import sys

from lmc_lab.progress import BranchProgress, count_states, share, summary
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.status import write_status


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def test_branches_are_done_running_failed_waiting_diverged_or_left_out(tmp_path):
    folders = [
        RunFolder(tmp_path / name)
        for name in ("done", "running", "failed", "killed", "waiting", "diverged", "bad", "none")
    ]
    done, running, failed, killed, _, diverged, damaged, none = folders
    write_status(done, status="finished", step=40)
    write_status(running, status="running", start=10, step=25, stop=40)
    write_status(failed, status="failed")
    write_status(killed, status="running", pid=dead_pid(), start=0, step=1, stop=40)
    write_status(diverged, status="diverged", start=10, step=12, stop=40)
    damaged.path.mkdir()
    damaged.status.write_text('{"state": "fini')
    write_status(none, status="left out")
    states = count_states(folders)
    assert states == {"finished": 1, "running": 1, "failed": 2, "waiting": 2, "diverged": 1, "left out": 1}
    assert summary(states) == "1 of 8 branches done, 1 running, 2 failed, 1 diverged, 1 left out"
    assert summary(count_states(folders[:5])) == "1 of 5 branches done, 1 running, 2 failed"
    assert [share(folder) for folder in folders] == [1, 0.5, 0, 1 / 40, 0, 1, 0, 1]


def test_the_display_is_silent_when_stderr_is_no_terminal(tmp_path, capfd):
    with BranchProgress([RunFolder(tmp_path)], seconds=0.01):
        pass
    assert capfd.readouterr() == ("", "")
