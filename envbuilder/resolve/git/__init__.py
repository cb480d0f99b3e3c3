"""Git sources: a pin -> a commit -> a wheel, built without network from locked requirements."""
