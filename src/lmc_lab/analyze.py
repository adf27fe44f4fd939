"""Analyses the mode of one split: ``python -m lmc_lab.analyze task=lenet split_step=2000``."""

from omegaconf import DictConfig

from lmc_lab import cli


def main() -> None:
    """Runs the command line."""
    cli.main("analyze", job)


def job(config: DictConfig) -> None:
    """Computes the rows of all analyses asked for, each unless it exists, and prints where they are."""
    from lmc_lab.analyses.store import ensure_rows
    from lmc_lab.compose import build_analyses, build_experiment, split_steps
    from lmc_lab.errors import UserError
    from lmc_lab.runs.endpoints import load_mode

    experiment = build_experiment(config)
    steps = split_steps(experiment, config.split_step)
    if len(steps) != 1:
        raise UserError(f"expected one split_step to analyse, found {config.split_step}; add split_step=2000, say")
    seeds = None if config.seeds is None else list(config.seeds)
    mode = load_mode(experiment, steps[0], seeds=seeds, allow_missing=config.allow_missing)
    for analysis in build_analyses(config):
        print(ensure_rows(experiment, mode, analysis, seeds=seeds))


if __name__ == "__main__":
    from lmc_lab import analyze  # by its name, so that worker processes can import the job

    analyze.main()
