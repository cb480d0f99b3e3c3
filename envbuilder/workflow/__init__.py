"""The jobs that users have: each joins rooms below into one piece of work."""
