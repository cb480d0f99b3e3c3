"""Lock -> image: the embedded engine, Docker's BuildKit, and what both stand on."""
