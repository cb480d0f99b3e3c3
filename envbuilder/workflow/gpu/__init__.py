"""What an environment wants of a GPU and its driver, known before either is rented."""
