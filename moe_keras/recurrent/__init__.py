"""The projected LSTM of the paper's models and its recurrence."""
