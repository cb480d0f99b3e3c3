"""Bisection: which of the changes between two locks turned the smoke red."""
