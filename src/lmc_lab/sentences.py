"""What went wrong, as one sentence where the user can mend it."""

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from lmc_lab import configs, schema
from lmc_lab.construct import argument_names
from lmc_lab.errors import UserError, is_users_own, modules_of, nearest, one_line, raised_in
from lmc_lab.files import written_name

_MODEL_IS_CALLED = "lmc_lab.tasks.judged_model"
_ENTRY_POINTS = ("train", "analyze", "study", "report", "tune")


def sentence(error: BaseException, config_name: str = "train") -> str | None:
    """Returns what was expected, what was found and what to do, or None if the traceback is to be shown instead.

    It is where `error` is not the user's to mend, or is one of the user's own code (of a program then, whatever its message),
    and where the user asks for it with ``LMC_DEBUG=1``.

    Args:
        error: what went wrong.
        config_name: the primary config of the command.
    """
    if os.environ.get("LMC_DEBUG"):
        return None
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and _is_lack_of_space(error):
        return _no_space(error.filename)
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return sentence(error.__cause__, config_name)
    if is_users_own(error):
        return None
    if isinstance(error, OSError) and error.filename is not None:
        may_not = error.errno in (errno.EACCES, errno.EPERM)
        what_to_do = "mend its permissions" if may_not else "look at what is there"
        return (
            f"expected to read and write {written_name(str(error.filename))}, found '{error.strerror}'; {what_to_do}, or "
            "choose another place (output_dir, cache_dir, data_dir, export)"
        )
    if (
        type(error) in (RuntimeError, NotImplementedError)
        and _MODEL_IS_CALLED in modules_of(error)
        and raised_in(error, "torch", "torchvision")
    ):
        return (
            f"expected task.model to take the inputs of task.data, found an error in it ({one_line(error)}); change one of "
            "the two (LMC_DEBUG=1 shows the layer)"
        )
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; importing it would take seconds
        return f"expected a trainer that this machine can run, found: {one_line(error)}; try trainer=cpu"
    if isinstance(error, HydraException | OmegaConfBaseException) or raised_in(error, "hydra", "omegaconf", "yaml"):
        return _config_error(error, config_name)
    return None


def _is_lack_of_space(error: OSError) -> bool:
    # numpy writes arrays with C's fwrite and knows no errno: "1000 requested and 0 written".
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "requested and" in str(error)


def _no_space(path: Any) -> str:
    return f"expected room on the disk to write {path or 'a file'}, found none; free some or set output_dir to another disk"


def _no_override(found: str, why: str) -> str:
    """Returns the sentence for an override that Hydra cannot read; within a list each override is a text of its own."""
    if re.match(r"[^=]+=\[[^\]\"']*=", found):
        what_to_do = """quote each override in a list, and the whole for the shell: 'key=["a=0","b=1"]'"""
    else:
        what_to_do = "complete it, and quote brackets for the shell: 'key=[0,1]'"
    return f"expected an override like key=value, found '{found}' ({why}); {what_to_do}"


def _config_error(error: BaseException, config_name: str) -> str:
    if isinstance(error, OverrideParseException):
        return _no_override(str(error.override), _first_line(error))
    if isinstance(error, InterpolationKeyError):
        return _unknown_reference(error, config_name)
    text = str(error) + (f"\n{error.__cause__}" if error.__cause__ else "")
    for pattern, answer in _ANSWERS.items():
        if match := re.search(pattern, text):
            return answer(match, config_name)
    return f"expected a config that can be composed, found: {' '.join(text.split())}; --help lists the keys"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[1 if lines[0].startswith("Error parsing override") and len(lines) > 1 else 0].strip()


def _unknown_option(match: re.Match[str], config_name: str) -> str:
    group, name = match.groups()
    options = configs.groups(configs.folders())
    if group.startswith("hydra/"):  # of plugins, whose options Hydra itself has found
        options[group] = re.findall(r"(?m)^\t(\S+)$", match.string)
    if group not in options:
        return f"expected a group of configs, found '{group}'; {nearest(group, options)}"
    folders = ", ".join(str(folder) for folder in configs.folders()[:-1])
    where = f", neither in lmc_lab nor in {folders}" if folders else ""
    return f"expected a config of the group '{group}', found '{name}'{where}; {nearest(name, options[group])}"


def _unknown_key(match: re.Match[str], config_name: str) -> str:
    key, known = match[1], configs.keys(config_name)
    inner = re.search(r"full_key: (\S+)", match.string)
    if key in known and inner is not None:  # a mapping was given
        return f"expected keys that '{key}' has, found '{inner[1]}'; add it first: +{inner[1]}=…"
    if key.startswith("hydra.launcher.") and config_name in ("study", "tune"):  # whose own launcher has no keys
        return f"expected the launcher of the study's sweeps before its key '{key}', found none; write hydra/launcher=pool, too"
    addable = _addable_to_a_study(known)
    if any(f"{key}.".startswith(f"{each}.") for each in addable):
        return f"expected a key of the config, found '{key}'; add it: +{key}=…"
    if (analysis := _analysis_not_chosen(key, known)) and addable:
        return f"expected a key of the config, found '{key}'; write +study.analyses.{analysis}={{…}}"
    if analysis and config_name == "analyze":
        return (
            f"expected a key of a chosen analysis, found '{key}'; add {analysis} to the list: 'analysis=[…,{analysis}]'"
        )
    valid = known | _arguments_beside(key, config_name) | {f"+{each}" for each in addable}
    others = [name for name in _ENTRY_POINTS if name != config_name and key in configs.keys(name)]
    if not others or (addable and key.startswith("study.")):  # other configs have other studies
        return f"expected a key of the config, found '{key}'; {nearest(key, valid, '--help lists the keys')}"
    if config_name == "tune" and key.startswith("task."):
        return f"expected a key of a trial's task to be added, found '{key}'; write +{key}=…"
    if "train" in others and config_name in ("study", "report", "tune"):
        return f"expected a key of the study's own config, found '{key}', which is its tasks'; write 'overrides=[\"{key}=…\"]'"
    return f"expected a key of the config, found '{key}', which only other configs have; --help lists this one's"


def _arguments_beside(key: str, config_name: str) -> set[str]:
    """Returns what may be added beside a key: the arguments that the target of its node takes, as overrides."""
    parent = key.rpartition(".")[0]
    node = OmegaConf.select(configs.chosen(config_name), parent) if parent else None
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return set()
    with suppress(Exception):  # a target that cannot be imported is another sentence
        return {f"+{parent}.{name}" for name in argument_names(node["_target_"], parent) if name not in node}
    return set()


def _addable_to_a_study(known: set[str]) -> set[str]:
    """Returns the keys that a study's config with these keys lacks and may be given: analyses, and what is optional."""
    if "study.analyses" not in known:
        return set()
    return {*schema.OPTIONAL, *(f"study.analyses.{name}" for name in _analyses())} - known


def _analysis_not_chosen(key: str, known: set[str]) -> str | None:
    """Returns the analysis that `key` is of, ``hulls`` of ``analysis.hulls.seed``, if it is not among those that are chosen."""
    match = re.match(r"analysis\.(\w+)", key)
    return match[1] if match and match[1] in _analyses() and match[0] not in known else None


def _analyses() -> list[str]:
    return configs.groups(configs.folders())["analysis"]


def _exists(match: re.Match[str], config_name: str) -> str:
    return f"expected a new key after '+', found '{match[1]}', which is there; leave out the '+'"


def _deletes_nothing(match: re.Match[str], config_name: str) -> str:
    return f"expected a key of the config after '~', found '{match[1]}'; {nearest(match[1], configs.keys(config_name))}"


def _several_values(match: re.Match[str], config_name: str) -> str:
    return f"expected one value, found several in '{match[1]}'; add -m to sweep over them, or write key=[…] for a list"


def _misfit(match: re.Match[str], config_name: str) -> str:
    return f"expected a value that fits, found '{match[1]}' ({' '.join(match[2].split())}); change it"


def _left_open(match: re.Match[str], config_name: str) -> str:
    return f"expected a value of {match[1]}, found none; add {match[1]}=…"


def _unknown_reference(error: InterpolationKeyError, config_name: str) -> str:
    match = re.search(r"key '(.+)' not found", str(error))
    name = match[1] if match else str(error)
    what_to_do = nearest(name, configs.keys(config_name), "change it")
    return f"expected {error.full_key} to refer to a key of the config, found '${{{name}}}'; {what_to_do}"


def _no_config_dir(match: re.Match[str], config_name: str) -> str:
    return (
        f"expected the folder of --config-dir at {match[1]}, found none; name another, or give the command in the folder that "
        "it is relative to"
    )


# What Hydra and OmegaConf say, and the sentence for it.
_ANSWERS: dict[str, Callable[[re.Match[str], str], str]] = {
    r"Could not (?:find|load) '([^']+)/([^'/]+)'": _unknown_option,
    r"Could not override '([^']+)'": _unknown_key,
    r"Key '([^']+)' is not in struct": _unknown_key,
    r"An item is already at '([^']+)'": _exists,
    r"Could not delete from config. '([^']+)' does not exist": _deletes_nothing,
    r"Ambiguous value for argument '([^']+)'": _several_values,
    r"(?s)Error merging override (\S+)\n(.*?)(?:\n +full_key|$)": _misfit,
    r"Missing mandatory value: (\S+)": _left_open,
    r"Additional config directory '(.+)' not found": _no_config_dir,
}
