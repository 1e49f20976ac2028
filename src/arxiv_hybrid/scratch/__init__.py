"""A CNN and a CNN-LSTM in plain NumPy: all gradients are written by hand, without autograd."""
