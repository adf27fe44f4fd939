"""The plan of a study, the commands of its stages, its search and its record: what `lmc_lab.study` is made of."""
