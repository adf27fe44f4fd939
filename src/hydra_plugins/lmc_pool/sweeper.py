"""``hydra/sweeper=early``: Hydra's own sweeper, for any launcher, which begins earlier.

Hydra composes the config of each job before it starts the first, to see that it can: 6 to 20 s for 100 seeds. Whoever
runs the job composes it again. Here only those are composed in advance that differ from the first by more than whole
numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore

from hydra_plugins.lmc_pool.sweep_config import whole_numbers


@dataclass
class EarlySweeperConf(BasicSweeperConf):
    """The node ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.lmc_pool.sweeper.EarlySweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="early", node=EarlySweeperConf, provider="lmc_lab")


class EarlySweeper(BasicSweeper):
    """See the module."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Composes the jobs whose overrides might not fit.

        Raises:
            ConfigCompositionException: there is one.
        """
        assert self.config is not None  # Hydra's setup came before
        groups = self.config.hydra.runtime.choices
        others = [job for job in batch[1:] if whole_numbers(batch[0], job, groups=groups) is None]
        super().validate_batch_is_legal([*batch[:1], *others])
