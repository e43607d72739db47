"""Run by ``make demo``."""
