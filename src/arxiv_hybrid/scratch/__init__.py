"""A CNN and a CNN-LSTM from NumPy alone: every gradient is written by hand, none by autograd."""
