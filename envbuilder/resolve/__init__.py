"""From a spec's requirements to exact artifacts, each with its hash."""
