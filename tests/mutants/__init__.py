"""Small mutations of the core, to see whether the unit tests notice: ``make mutants``."""
