print("a page to talk to the model")
