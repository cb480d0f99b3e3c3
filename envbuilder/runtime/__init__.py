"""Run one command inside an image, without network, and take everything down again."""
