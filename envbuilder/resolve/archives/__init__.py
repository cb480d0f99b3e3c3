"""What is built and does not come from git: sdists and project folders, bounded and by hash."""
