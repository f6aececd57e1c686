"""The `lstm` family: causal LSTMs with a mixture-density head."""
