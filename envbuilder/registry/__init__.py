"""An OCI Distribution client on requests: every byte that arrives is hashed."""
