"""Version bumps: change pins in a spec, see what moves, keep it or leave all as it was."""
