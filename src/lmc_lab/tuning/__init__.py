"""A study for each choice of a task's keys: what `lmc_lab.tune` is made of."""
