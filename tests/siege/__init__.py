"""A standing siege: attacks on the command and its parsers, and what may never come of them."""
