"""The time-series CNN-LSTM of examples/time_series: series, model, training."""
