"""Generation: songs of a trained model, from the request to the files."""
