"""Environments are made on the machines of a Ray cluster: one job each, through Ray's Jobs API."""
