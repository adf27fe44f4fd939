"""``hydra/sweeper=pool``: Hydra's own sweeper, which begins sooner.

Hydra composes the config of each job before it starts the first, to see that it can: 6 s for 100 seeds. Whoever runs the
job composes it again. Here only those are composed in advance that differ from the first by more than whole numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore

from hydra_plugins.lmc_pool.sweep_config import whole_numbers


@dataclass
class PoolSweeperConf(BasicSweeperConf):
    """The node ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.lmc_pool.sweeper.PoolSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="pool", node=PoolSweeperConf, provider="lmc_lab")


class PoolSweeper(BasicSweeper):
    """See the module."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Composes the jobs whose overrides might not fit.

        Raises:
            ConfigCompositionException: there is one.
        """
        if not batch:  # seed=range(0)
            return
        super().validate_batch_is_legal(
            [batch[0], *(overrides for overrides in batch[1:] if whole_numbers(batch[0], overrides) is None)]
        )
