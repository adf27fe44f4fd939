"""The least that a program with Hydra can be: no config, no work."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3")
def main(config: DictConfig) -> None:
    """Does nothing."""


if __name__ == "__main__":
    main()
