"""What people have already -> a spec: readers make statements; one fold, one writer."""
