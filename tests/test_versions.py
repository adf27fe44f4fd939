import importlib.metadata

from lmc_lab.runs import checkpoint
from lmc_lab.versions import OF_SOURCE, package_version


def test_the_version_of_what_is_not_installed_is_that_of_its_source():
    assert package_version("torch") == importlib.metadata.version("torch")
    assert package_version("not-a-package-of-anybody") == OF_SOURCE


def test_a_checkpoint_is_saved_from_the_source_folder(tmp_path, monkeypatch):
    real = importlib.metadata.version

    def without_own(name):
        if name == "lmc_lab":
            raise importlib.metadata.PackageNotFoundError
        return real(name)

    monkeypatch.setattr("lmc_lab.versions.version", without_own)
    checkpoint._versions.cache_clear()
    path = tmp_path / "mnist1d-0" / "trunk-0" / "step-0.safetensors"
    path.parent.mkdir(parents=True)
    try:
        checkpoint.save({"step": 0}, path)
        assert checkpoint.load(path).state == {"step": 0}
    finally:
        checkpoint._versions.cache_clear()
