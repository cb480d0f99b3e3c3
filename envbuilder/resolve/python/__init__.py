"""Python requirements -> wheels by hash: uv resolves, and what it chose is fetched and checked."""
