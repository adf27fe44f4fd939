import pytest
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from lmc_lab.errors import UserError
from lmc_lab.studies.check import _first_job, check_stages
from lmc_lab.studies.plan import StudyPlan


def test_the_first_job_of_a_sweep_has_the_first_value_of_each_swept_key():
    arguments = [
        "task=lenet",
        "+task.data.num_test=10,20",
        "++run.log_every=range(3,9)",
        "seed=range(5)",
        "split_step=[0,5]",
    ]
    own = ["hydra.launcher.n_jobs=2", "hydra/launcher=basic", "hydrate=1"]
    expected = ["task=lenet", "+task.data.num_test=10", "++run.log_every=3", "seed=0", "split_step=[0,5]", "hydrate=1"]
    assert _first_job([*arguments, *own]) == expected


def test_a_folder_of_configs_with_an_equals_sign_is_no_override():
    assert _first_job(["seed=3", "--config-dir", "/a=b/c", "-m"]) == ["seed=3"]


def test_more_plain_branches_than_a_study_trains_are_refused_before_any_is_trained():
    expected = (
        r"study.branches to be at least 5, which analysis.shared_examples starts from, found 3;.*num_endpoints to 3"
    )
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"), pytest.raises(UserError, match=expected):
        check_stages(StudyPlan.of(compose("study", ["study=mnist1d_examples", "study.branches=3"])))
