"""The part of the smoke test that runs inside the container, on nothing but its own packages.

It imports the standard library (Python 3.9 or newer) and what the container holds, never the rest
of envbuilder. It measures and never judges: ``envbuilder.smoke.judge`` says what the facts mean.

    python -I -B probe < request.json > facts.json

``__main__`` hands over to :mod:`.supervise`, which runs every job in a process of its own, so that
a crash, a hang or an out-of-memory kill is one fact among others.
"""
