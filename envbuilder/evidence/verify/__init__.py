"""Prove that a remote image is what its lock says, in kilobytes: findings first, then a verdict."""
