"""Servers that the tests start on loopback and end again."""
