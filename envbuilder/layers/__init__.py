"""Layers: wheels, files and systems become deterministic OCI layer blobs in a content store."""
