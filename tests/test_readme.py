"""The programs that the README and examples/ show, as they stand there."""

import re
from textwrap import dedent

import torch
from torch.nn import functional as F

import lmc_lab
from conftest import REPOSITORY
from shell import succeed

MY_PACKAGE = """
import torch
from torch import nn

generator = torch.Generator().manual_seed(0)
labels = torch.randint(3, (200,), generator=generator)
inputs = torch.randn(200, 2, generator=generator) + 2 * torch.eye(3)[labels][:, :2]


class MyModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))
"""


def program_of_the_readme():
    """Returns the indented block that makes an objective."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    return dedent(next(block for block in blocks if "lmc_lab.Objective" in block)).strip()


def trained_states(model_class, inputs, labels):
    """Returns the states of three nets that part early and train in data orders of their own."""
    torch.manual_seed(0)
    start = model_class().state_dict()
    for seed in range(3):
        model = model_class()
        model.load_state_dict(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in torch.randint(200, (60, 16), generator=torch.Generator().manual_seed(seed)):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        yield model.state_dict()


def test_the_program_of_the_readme_says_what_the_library_does(tmp_path):
    program = program_of_the_readme()
    assert len(program.splitlines()) <= 10
    (tmp_path / "my_package.py").write_text(MY_PACKAGE)
    (tmp_path / "program.py").write_text(program)
    names = {}
    exec(MY_PACKAGE, names)
    states = list(trained_states(names["MyModel"], names["inputs"], names["labels"]))
    for name, state in zip("abc", states, strict=True):
        torch.save(state, tmp_path / f"{name}.pt")

    objective = lmc_lab.Objective(names["MyModel"](), F.cross_entropy, (names["inputs"], names["labels"]))
    probe = lmc_lab.probe_hull(objective, states)
    assert probe.p_conv.value > 0 and probe.p_rand.value < 1
    printed = succeed("python program.py", cwd=tmp_path)
    assert printed == f"p_conv {probe.p_conv}, p_rand {probe.p_rand}\n"


def test_the_functions_of_the_readme_are_all_that_the_library_offers():
    table = re.findall(r"^\| `(\w+)\(.*?\)` \| `(\w+)`", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    named = {name for row in table for name in row}
    within = {"Evaluation", "HullSample", "LineProfile", "Probability"}  # what answers are made of
    assert named == {*lmc_lab.__all__} - {"Objective", "UserError"} - within


def test_the_example_finds_three_branches_of_a_late_split_in_one_region_and_those_of_the_start_not(tmp_path):
    printed = succeed(f"python {REPOSITORY}/examples/hull_of_checkpoints.py {tmp_path}")
    early, late = [
        {line[:23].strip(): line[23:].split() for line in part.splitlines()} for part in printed.split("\nk = ")[1:]
    ]
    assert float(early["p_conv"][0]) < 0.5 < float(late["p_conv"][0])
    assert float(late["barrier"][0]) < 0.1 * float(early["barrier"][0])
    assert {path.name for path in tmp_path.glob("split-400/*")} == {"a.pt", "b.safetensors", "c.ckpt"}
