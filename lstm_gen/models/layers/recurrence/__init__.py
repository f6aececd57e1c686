"""The LSTM as a layer: its arithmetic, wherever it runs."""
