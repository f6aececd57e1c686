"""LSTM layer, its recurrence in three implementations."""
