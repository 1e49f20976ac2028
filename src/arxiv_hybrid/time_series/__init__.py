"""The CNN-LSTM of examples/time_series: synthetic series, model, training."""
