"""What a user gives and what it is answered: one sentence, before anything is trained; here without a process of its own."""

import pytest
import torch
from torch import nn

from in_process import run_here
from lmc_lab import analyze, report, study, train
from lmc_lab.sentences import sentence
from lmc_lab.tasks.classification import Classification

OWN_TASK = """
name: mine
model: {_target_: torch.nn.LazyLinear, out_features: 10}
data: {_target_: lmc_lab.data.mnist1d.load, _partial_: true}
optimizer: {_target_: torch.optim.AdamW, _partial_: true, lr: "???"}
module: {_target_: lmc_lab.tasks.classification.Classification, _partial_: true}
batch_size: 100
max_steps: 60
precision: 32-true
"""
JOBS = {"train": train.job, "analyze": analyze.job, "study": study.job, "report": report.job}


def test_a_model_that_does_not_fit_the_inputs_is_a_sentence_and_one_of_ones_own_keeps_its_traceback():
    judged = Classification(nn.Linear(28, 10), None, num_classes=10)
    assert "task.model to take the inputs of task.data, found an error in it (mat1" in sentence(refusal(judged))
    judged.model.forward = lambda given: nn.functional.linear(given, judged.model.weight)
    assert sentence(refusal(judged)) is None


def refusal(judged):
    """Returns what a model raises of inputs that it does not take, without the frame of this file."""
    with pytest.raises(RuntimeError) as caught:
        judged(torch.zeros(2, 1, 40))
    return caught.value.with_traceback(caught.value.__traceback__.tb_next)


@pytest.fixture
def answer(tmp_path, shared_cache, monkeypatch, capfd):
    """Returns what a command answers that is refused; it must be one sentence, and nothing may be trained."""
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(OWN_TASK)
    (tmp_path / "conf" / "task" / "crooked.yaml").write_text("name: [mine\n")
    places = [f"output_dir={tmp_path / 'out'}", f"cache_dir={shared_cache}", "--config-dir", str(tmp_path / "conf")]

    def run(entry_point, overrides):
        given = {item.split("=")[0] for item in overrides}
        kept = [item for item in places if item.split("=")[0] not in given]
        with pytest.raises(SystemExit) as end:
            run_here(monkeypatch, entry_point, [*overrides, *kept], JOBS[entry_point])
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert end.value.code == 1 and line.startswith("lmc_lab: expected ")
        assert not list((tmp_path / "out").rglob("status.json"))
        return line

    return run


TRAIN = [
    # of a wrong kind, or impossible
    ("trunk_seed=-1", "expected trunk_seed to be a whole number >= 0 and < 2**63 or a list"),
    ("trunk_seed=9223372036854775808", "found 9223372036854775808"),
    ("trunk_seed=true", "found true"),
    ("seed=true", "expected seed to be a whole number >= 0 and < 2**63 or 'trunk' or a list in which each is"),
    ("seed=[]", "(1 or more, none of them twice) or null, found []"),
    ("seed=[0,0]", "found [0, 0]"),
    ("seed=[0,true]", "found [0, True]"),
    ("seed=1.5", "found 1.5"),
    ("seed=-1", "found -1"),
    ("seed=trunkk", "did you mean 'trunk'?"),
    ("seed=9223372036854775808", "expected seed"),
    ("branches=true", "expected branches to be a whole number >= 2, since a hull needs P >= 2 or null, found true"),
    ("carry_optimizer_state=1", "expected carry_optimizer_state to be true or false, found 1"),
    ("branch_length=to_totl", "did you mean 'to_total'?"),
    ("data_dir=5", "expected data_dir to be a text, found 5"),
    ("task.batch_size=0", "expected task.batch_size to be a whole number >= 1, found 0"),
    ("task.max_steps=1e3", "expected task.max_steps to be a whole number >= 1, found 1000.0"),
    ("task.name=../../x", "expected task.name to be a text of letters"),
    ("task.name=.x", "does not begin with a dot"),
    ("task.name=7", "found 7"),
    ("task.gradient_clip_val=-1", "expected task.gradient_clip_val to be a number > 0 or null"),
    ("task.gradient_clip_algorithm=nrm", "did you mean 'norm'?"),
    ("task.callbacks=3", "expected task.callbacks to be a list"),
    ("run.log_every=0", "expected run.log_every to be a whole number >= 1"),
    ("run.evaluate_every=0", "expected run.evaluate_every to be a whole number >= 1 or null"),
    ("run.resume_seconds=-1", "expected run.resume_seconds to be a number >= 0"),
    ("+task.gradient_clip=1.0", "found task.gradient_clip; did you mean 'gradient_clip_val'"),
    ("+task.batchsize=3", "expected a key of task, found task.batchsize; did you mean 'batch_size'?"),
    ("task.precision=float32", "found 'float32'; did you mean '32-true'?"),
    ("split_step=[]", "expected split_step to be"),
    ("run.save_steps=3", "expected run.save_steps to be a list"),
    ("run.save_steps=[2000]", "expected run.save_steps to be steps from 0 to T = 1500"),
    ("run=3", "expected"),
    ("split_step=[0.5]", "expected split_step to be"),
    ("split_step=1500", "expected a split step k with 0 <= k < T = 1500"),
    ("task.optimizer.lr=fast", "expected task.optimizer.lr to be a number, found 'fast'"),
    ("task.optimizer.momentum=null", "expected task.optimizer.momentum to be a number, found null"),
    ("task.data.num_train=many", "expected task.data.num_train to be a whole number >= 1 or null"),
    ("task.module.num_classes=ten", "expected task.module.num_classes to be a whole number >= 1 or null"),
    ("+task.model.channels=0", "expected task.model.channels to be a whole number >= 1, found 0"),
    ("task.callbacks=[{_target_: lightning.pytorch.callbacks.EMAWeightAveragin}]", "EMAWeightAveraging'?"),
    # of a node
    ("task.model=lenet", "expected task.model to be a node with a _target_"),
    ("task.model._target_=lmc_lab.models.conv1d.ConvNet", "did you mean 'lmc_lab.models.conv1d.ConvNet1d'?"),
    ("task.optimizer._target_=torch.optim.SDG", "did you mean 'torch.optim.SGD'?"),
    ("+task.model.chanels=3", "did you mean 'channels'?"),
    ("task.model.channels=3", "did you mean '+task.model.channels'?"),
    ("task.model._target_=torch.optim.SGD", "add +task.model.params=…"),
    ("task.model._target_=torch.nn.TransformerEncoderLayer", "add +task.model.d_model=…"),
    ("~task.model", "expected task.model to be a node with a _target_, found null"),
    ("~task.max_steps", "expected a value of task.max_steps, found none"),
    ("task=mine", "expected a value of task.optimizer.lr, found none; add task.optimizer.lr=…"),
    # of Hydra
    ("task=lenet,", "expected an override like key=value, found 'task=lenet,'"),
    ("task=[lenet", "found 'task=[lenet'"),
    ("task.model={a:", "found 'task.model={a:'"),
    ("task=a=b", "found 'task=a=b'"),
    ("=3", "expected"),
    ("task.name=a,b", "expected one value, found several in 'task.name=a,b'"),
    ("+task.name=x", "expected a new key after '+', found 'task.name', which is there; leave out the '+'"),
    ("~task.nam", "did you mean 'task.name'?"),
    ("task.name=${task.modl}", "expected task.name to refer to a key of the config, found '${task.modl}'"),
    ("hydra.launcher.n_jobs=zwei", "found 'hydra.launcher.n_jobs=zwei'"),
    ("task=crooked", "crooked.yaml"),
    ("task=mien", "did you mean 'mine'"),
    ("study=lenet", "found 'study', which only other configs have"),
    ("onset_treshold=1", "--help lists the keys"),
    ("task.optimizer.learning_rate=1", "did you mean 'task.optimizer.lr', '+task.optimizer.dampening' or 'task.opt"),
    ("OMP_NUM_THREADS=zwei", "expected OMP_NUM_THREADS to be a whole number >= 1, found 'zwei'"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "expected"), TRAIN)
def test_train_answers_in_one_sentence(answer, monkeypatch, override, expected):
    name, _, value = override.partition("=")
    if name.isupper():
        monkeypatch.setenv(name, value)
        assert expected in answer("train", [])
    else:
        steps = [] if override.startswith(("split_step", "branches", "seed")) else ["split_step=0"]
        assert expected in answer("train", [override, *steps])


def test_branches_with_t_steps_of_their_own_end_at_2_t_at_the_latest(answer):
    own = "branch_length=after_split"
    given = [own, "run.save_steps=[3001]", "split_step=0", "seed=0"]
    assert "steps from 0 to the end of a branch = 3000, found [3001]" in answer("train", given)
    of_trunk = [own, "run.save_steps=[2000]", "split_step=[0]"]
    assert "steps from 0 to T = 1500, found [2000]" in answer("train", of_trunk)
    longer = ["+branch.overrides.max_steps=2000", "run.save_steps=[2001]", "split_step=0", "seed=0"]
    assert "the end of a branch = 2000, found [2001]" in answer("train", longer)


ANALYZE = [
    ("seeds=[0,0]", "(2 or more, none of them twice) or null, found [0, 0]"),
    ("seeds=3", "expected seeds to be a list"),
    ("seeds=[0,true]", "found [0, True]"),
    ("trunks=[1,1]", "expected trunks to be a list"),
    ("allow_missing=yess", "expected allow_missing to be true or false"),
    ("analysis.convex_mode.num_samples=0", "expected analysis.convex_mode.num_samples to be a whole number >= 1"),
    (
        "analysis.convex_mode.concentration=0",
        "expected analysis.convex_mode.concentration to be a number >= 0.01, since smaller ones round to the centre, found 0",
    ),
    ("analysis.convex_mode.seed=9223372036854775808", "expected analysis.convex_mode.seed"),
    ("analysis.convex_mode.seed=-1", "expected analysis.convex_mode.seed"),
    ("analysis.pairs.num_points=1", "expected analysis.pairs.num_points to be a whole number >= 3"),
    ("analysis.pairs.num_endpoints=1", "expected analysis.pairs.num_endpoints to be a whole number >= 2"),
    ("evaluation.bn_policy=keeep", "one of reestimate, interpolate, keep, found 'keeep'; did you mean 'keep'?"),
    ("evaluation.num_bn_examples=1", "expected evaluation.num_bn_examples to be a whole number >= 2"),
    ("evaluation.path=fast", "expected evaluation.path to be one of auto, loop, stacked"),
    ("analysis.hulls.num_hulls=3", "add hulls to the list: 'analysis=[…,hulls]'"),
    ("analysis=[convex]", "did you mean 'convex_mode' or 'onset'?"),
    ("analysis=[]", "expected one analysis or more, found none"),
    ("analysis.convex_mode._target_=lmc_lab.analyses.pairs.Pears", "did you mean 'lmc_lab.analyses.pairs.Pairs'?"),
    ("analysis.convex_mode.num_sample=3", "did you mean 'analysis.convex_mode.num_samples'?"),
]
STEPS = [
    ("branch_hessian", "steps=[-1]"),
    ("branch_hessian", "num_branches=0"),
    ("branch_hessian", "max_products=1"),
    ("branch_hessian", "tolerance=0"),
    ("branch_hessian", "keep_graph=3"),
    ("trunk_hessian", "method=lanzos"),
    ("trunk_hessian", "steps=3"),
    ("trunk_midpoint_gap", "num_pairs=0"),
    ("trunk_midpoint_gap", "num_examples=0"),
    ("inter_mode", "num_draws=0"),
    ("distances", "num_samples=0"),
    ("hulls", "num_endpoints=1"),
    ("hulls", "num_hulls=1"),
    ("hulls", "num_samples=0"),
    ("plane", "num_samples=0"),
    ("plane", "num_grid=1"),
    ("plane", "margin=-1"),
    ("predictions", "num_examples=-1"),
    ("trunk_collapse", "steps=3"),
    ("trunk_collapse", "steps=[0,0]"),
    ("trunk_collapse", "steps=[]"),
    ("trunk_hessian", "steps=[]"),
    ("branch_collapse", "steps=[-1]"),
    ("hull_collapse", "num_samples=0"),
    ("star", "num_points=2"),
    ("inter_star", "num_endpoints=0"),
    ("inter_alignment", "num_examples=0"),
    ("layer_barriers", "num_endpoints=1"),
    ("feature_linearity", "num_examples=0"),
    ("trunk_lyapunov", "num_steps=1"),
    ("trunk_lyapunov", "num_directions=0"),
    ("trunk_kernel", "num_epochs=0"),
    ("branch_kernel", "num_examples=1"),
    ("inter_kernel", "max_outputs=0"),
    ("perturbed_branches", "sigmas=[1]"),
    ("perturbed_branches", "kinds=[gausian]"),
    ("perturbed_branches", "threshold=2"),
    ("noise_hulls", "kinds=[weather]"),
    ("noise_hulls", "label_share=0"),
    ("noise_hulls", "rate_spread=1"),
    ("noise_hulls", "rate_factors=[2]"),
    ("shared_examples", "num_endpoints=1"),
    ("shared_examples", "ways=[shard]"),
    ("shared_examples", "num_samples=0"),
    ("example_barriers", "num_endpoints=1"),
    ("example_barriers", "num_resamples=0"),
]


@pytest.mark.parametrize(("override", "expected"), ANALYZE)
def test_analyze_answers_in_one_sentence(answer, override, expected):
    assert expected in answer("analyze", [override, "split_step=0"])


@pytest.mark.parametrize(("analysis", "setting"), STEPS)
def test_every_setting_of_an_analysis_is_judged(answer, analysis, setting):
    key = f"analysis.{analysis}.{setting.partition('=')[0]}"
    assert f"expected {key} to be " in answer("analyze", [f"analysis=[{analysis}]", f"analysis.{analysis}.{setting}"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("endpoints=3", "expected endpoints to be a text or a list in which each is a text or null, found 3"),
        ("endpoints=[1,2]", "found [1, 2]"),
        ("endpoints=[]", "expected at least 2 files in endpoints, since a hull needs P >= 2, found none"),
        ("endpoints=nowhere/*.pt", "expected files of weights at endpoints=nowhere/*.pt, found none"),
        ("endpoints=[a.pt,b.pt] split_step=0", "without split_step, which name branches, found both; leave the one"),
        ("endpoints=[a.pt,b.pt] seeds=[0,1]", "without seeds,"),
        ("endpoints=[a.pt,b.pt] trunks=[0,1]", "without trunks,"),
    ],
)
def test_files_of_weights_are_judged(answer, overrides, expected):
    assert expected in answer("analyze", overrides.split())


LOGGER = "expected logger.mode to be one of auto, online, offline, disabled, found 'offlin'; did you mean 'offline'?"


@pytest.mark.parametrize("entry_point", ["train", "study", "report"])
def test_a_mirror_is_online_offline_or_disabled(answer, entry_point):
    assert LOGGER in answer(entry_point, ["logger=wandb", "logger.mode=offlin"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("cifar10 task.data.augment=1", "expected task.data.augment to be true or false, found 1"),
        ("bach task.data.start=soon", "expected task.data.start to be a number >= 0, found 'soon'"),
        ("bach task.data.start=nan", "found nan"),
        ("bach task.data.start=-1", "found -1"),
        ("bach task.data.duration=true", "expected task.data.duration to be a number > 0 or null, found true"),
        ("bach task.data.duration=0", "found 0"),
    ],
)
def test_settings_of_the_data_are_judged(answer, data, expected):
    group, setting = data.split()
    assert expected in answer("train", [f"task/data={group}", f"++{setting}", "split_step=0"])


STUDY = [
    ("study=lenet_n", "did you mean 'lenet_m'?"),
    ("study.name=../x", "expected study.name to be a text of letters"),
    ("study.branches=1", "expected study.branches to be a whole number >= 2, since a hull needs P >= 2, found 1"),
    ("study.branches=true", "found true"),
    ("study.trunks=0", "expected study.trunks to be a list"),
    ("study.trunks=[0,0]", "none of them twice"),
    ("study.splits=[0,1500]", "expected a split step k with 0 <= k < T = 1500"),
    ("study.splits=[]", "expected study.splits"),
    ("study.analyses.convex_mode.num_samples=0", "expected analysis.convex_mode.num_samples"),
    ("study.analyses.trunk_hessian={steps:[3]}", "add it first: +study.analyses.trunk_hessian.steps=…"),
    ("+study.step=[50]", "expected a key of study, found study.step; did you mean 'steps'?"),
    ("+study.analyses.trunk_hessian.steps=[9999]", "expected run.save_steps to be steps from 0 to T = 1500"),
    ("+study.analyses.convx={}", "expected a config of the group 'analysis', found 'convx'"),
    ("study.analyses.hulls={}", "add it: +study.analyses.hulls=…"),
    ("study.analyses.hulls.num_hulls=3", "add it: +study.analyses.hulls.num_hulls=…"),
    ("study.analyses.hullz={}", "did you mean '+study.analyses.hulls'"),
    ("study.search.ratio=2", "add it: +study.search.ratio=…"),
    ("study.evaluation.num_examples=9", "add it: +study.evaluation.num_examples=…"),
    ("analysis.hulls.num_hulls=3", "write +study.analyses.hulls={…}"),
    ("analysis.spectrum.num_hulls=3", "write +study.analyses.spectrum={…}"),
    ('overrides=["task=lenett"]', "did you mean 'lenet'?"),
    ("overrides=trainer", "expected overrides to be a list"),
    ('overrides=["data_dir=."]', "found it among its overrides; leave it out there, and give the command data_dir=."),
    ("study.overrides=[task=lenet]", """; quote each override in a list, and the whole for the shell: 'key=["a=0","b=1"]'"""),
    ('overrides=["+trainer.acelerator=cpu"]', "did you mean 'accelerator'?"),
    ("+study.analyses.onset.threshold=2", "expected analysis.onset.threshold to be a number from 0 to 1, found 2"),
    ("hydra.launcher.n_jobs=1", "write hydra/launcher=pool, too"),
    ("task.max_steps=3", "which is its tasks'; write 'overrides=[\"task.max_steps=…\"]'"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "expected"), STUDY)
def test_study_answers_before_its_first_stage(answer, override, expected):
    assert expected in answer("study", [override])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("results=[]", "expected results to be"),
        ("beside=siren", "expected beside to be a list"),
        ("sweep=1", "expected sweep to be a list"),
    ],
)
def test_report_answers_in_one_sentence(answer, override, expected):
    assert expected in answer("report", [override])
