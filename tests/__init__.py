"""The tests, and the servers that they start."""
