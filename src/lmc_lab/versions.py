"""The versions of Python, of this package and of others."""

from importlib.metadata import PackageNotFoundError, version
from platform import python_version

OF_SOURCE = "source"


def package_version(package: str) -> str:
    """Returns the version of an installed package; `OF_SOURCE` for one that runs from its source folder."""
    try:
        return version(package)
    except PackageNotFoundError:
        return OF_SOURCE


def versions_with(*packages: str) -> dict[str, str]:
    """Returns the versions of Python and of `packages`, by which numbers are said to be made."""
    return {"Python": python_version(), **{package: package_version(package) for package in packages}}
