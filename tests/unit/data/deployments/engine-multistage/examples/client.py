print("an example of a client")
