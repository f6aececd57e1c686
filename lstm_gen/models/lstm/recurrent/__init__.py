"""LSTM layers: a portable loop, and a kernel for processors."""
