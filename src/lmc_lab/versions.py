"""The versions of this package and of others."""

from importlib.metadata import PackageNotFoundError, version

OF_SOURCE = "source"


def package_version(package: str) -> str:
    """Returns the version of an installed package; `OF_SOURCE` for one that runs from its source folder."""
    try:
        return version(package)
    except PackageNotFoundError:
        return OF_SOURCE
