"""Provokes everything that may happen to a study, and sees that nothing wrong is taken for a result: ``make soak``."""
