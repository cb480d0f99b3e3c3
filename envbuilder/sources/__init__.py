"""From a commit to a wheel: locked build environments, contained builds, reproducible bytes."""
