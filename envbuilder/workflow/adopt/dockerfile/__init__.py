"""A Dockerfile as statements: its grammar, its variables, the shell of its RUN lines."""
