"""Debian packages by hash, and the root file system that is made of them."""
