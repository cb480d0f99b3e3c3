"""The jobs that users have: each joins the rooms above into one piece of work."""
