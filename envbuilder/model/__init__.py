"""Values and their texts: spec, lock, plan, image, references, errors. No network, no store."""
