"""NumPy layers with hand-written gradients, on whole batches.

Each layer stores what `backward` needs of the last `forward`. `weights` and `gradients` are
dictionaries with the same keys. Shapes: N examples, T tokens, D and H channels.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.int64]


class Layer:
    """A function with weights, and its gradient."""

    def __init__(self) -> None:
        self.weights: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        """Return the output for a batch."""
        raise NotImplementedError

    def backward(self, gradient: Array) -> Array:
        """Return the gradient of the input from that of the output; fills `gradients`."""
        raise NotImplementedError


class Embedding(Layer):
    """A vector per token id; row 0, the padding, is zero and stays zero."""

    def __init__(self, vocab_size: int, dim: int, random: np.random.Generator, dtype: Any) -> None:
        super().__init__()
        table = random.normal(0, 1 / np.sqrt(dim), (vocab_size, dim)).astype(dtype)
        table[0] = 0
        self.weights = {"table": table}

    def forward(self, x: Any) -> Array:
        """Token ids (N, T) to vectors (N, T, D)."""
        self._ids: Ids = x
        vectors: Array = self.weights["table"][x]
        return vectors

    def backward(self, gradient: Array) -> Array:
        """Sparse gradient: the U distinct ids of the batch in `rows`, their gradients (U, D)."""
        rows, inverse = np.unique(self._ids, return_inverse=True)
        values = np.zeros((len(rows), gradient.shape[-1]), dtype=gradient.dtype)
        np.add.at(values, inverse.ravel(), gradient.reshape(-1, gradient.shape[-1]))
        values[rows == 0] = 0
        self.rows = rows
        self.gradients = {"table": values}
        return gradient


class Conv1D(Layer):
    """Convolution over tokens without padding: (N, T, D) to (N, T - size + 1, filters)."""

    def __init__(
        self, dim: int, filters: int, size: int, random: np.random.Generator, dtype: Any
    ) -> None:
        super().__init__()
        scale = np.sqrt(2 / (size * dim))  # He et al. 2015: a ReLU follows
        kernel = random.normal(0, scale, (size, dim, filters)).astype(dtype)
        self.weights = {"kernel": kernel, "bias": np.zeros(filters, dtype)}

    def forward(self, x: Array) -> Array:
        """One matrix product per kernel position."""
        self._x = x
        kernel = self.weights["kernel"]
        length = x.shape[1] - len(kernel) + 1
        if length < 1:
            raise ValueError(f"{x.shape[1]} tokens are fewer than the kernel size, {len(kernel)}")
        parts = [x[:, offset : offset + length] @ kernel[offset] for offset in range(len(kernel))]
        out: Array = sum(parts) + self.weights["bias"]
        return out

    def backward(self, gradient: Array) -> Array:
        """See `Layer.backward`."""
        kernel, length = self.weights["kernel"], gradient.shape[1]
        d_x, d_kernel = np.zeros_like(self._x), np.empty_like(kernel)
        for offset in range(len(kernel)):
            window = self._x[:, offset : offset + length]
            d_kernel[offset] = np.tensordot(window, gradient, axes=([0, 1], [0, 1]))
            d_x[:, offset : offset + length] += gradient @ kernel[offset].T
        self.gradients = {"kernel": d_kernel, "bias": gradient.sum((0, 1))}
        return d_x


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x: Array) -> Array:
        """See `Layer.forward`."""
        self._positive = x > 0
        out: Array = x * self._positive
        return out

    def backward(self, gradient: Array) -> Array:
        """See `Layer.backward`."""
        out: Array = gradient * self._positive
        return out


class GlobalMaxPool(Layer):
    """Maximum of each channel over the tokens: (N, T, D) to (N, D)."""

    def forward(self, x: Array) -> Array:
        """See `Layer.forward`."""
        self._shape = x.shape
        self._argmax = x.argmax(1)
        out: Array = np.take_along_axis(x, self._argmax[:, None], 1)[:, 0]
        return out

    def backward(self, gradient: Array) -> Array:
        """The gradient goes to the position of the maximum, the first one in a tie."""
        d_x = np.zeros(self._shape, dtype=gradient.dtype)
        np.put_along_axis(d_x, self._argmax[:, None], gradient[:, None], 1)
        return d_x


class Dense(Layer):
    """Fully connected layer: (N, D) to (N, out)."""

    def __init__(self, dim: int, out: int, random: np.random.Generator, dtype: Any) -> None:
        super().__init__()
        scale = np.sqrt(2 / (dim + out))  # Glorot and Bengio 2010
        self.weights = {
            "weight": random.normal(0, scale, (dim, out)).astype(dtype),
            "bias": np.zeros(out, dtype),
        }

    def forward(self, x: Array) -> Array:
        """See `Layer.forward`."""
        self._x = x
        out: Array = x @ self.weights["weight"] + self.weights["bias"]
        return out

    def backward(self, gradient: Array) -> Array:
        """See `Layer.backward`."""
        self.gradients = {"weight": self._x.T @ gradient, "bias": gradient.sum(0)}
        out: Array = gradient @ self.weights["weight"].T
        return out


class LSTM(Layer):
    """LSTM (Hochreiter and Schmidhuber 1997): (N, T, D) to the last hidden state (N, H).

    The columns of the weights are the gates in the order input, forget, cell, output. The
    bias of the forget gate starts at 1, so that an untrained cell remembers.
    """

    def __init__(self, dim: int, hidden: int, random: np.random.Generator, dtype: Any) -> None:
        super().__init__()
        self.hidden = hidden
        bias = np.zeros(4 * hidden, dtype)
        bias[hidden : 2 * hidden] = 1
        self.weights = {
            "input": random.normal(0, 1 / np.sqrt(dim), (dim, 4 * hidden)).astype(dtype),
            "recurrent": random.normal(0, 1 / np.sqrt(hidden), (hidden, 4 * hidden)).astype(dtype),
            "bias": bias,
        }

    def forward(self, x: Array) -> Array:
        """Project all inputs at once, then run one step per token."""
        count, steps = x.shape[:2]
        size = self.hidden
        projected = x @ self.weights["input"] + self.weights["bias"]
        self._x = x
        self._states = np.zeros((steps + 1, count, size), dtype=x.dtype)
        self._cells = np.zeros((steps + 1, count, size), dtype=x.dtype)
        self._gates = np.empty((steps, count, 4 * size), dtype=x.dtype)
        for step in range(steps):
            gates = projected[:, step] + self._states[step] @ self.weights["recurrent"]
            candidate = np.tanh(gates[:, 2 * size : 3 * size])
            gates = sigmoid(gates)
            gates[:, 2 * size : 3 * size] = candidate
            input_gate, forget_gate, output_gate = (
                gates[:, i * size : (i + 1) * size] for i in (0, 1, 3)
            )
            self._cells[step + 1] = forget_gate * self._cells[step] + input_gate * candidate
            self._states[step + 1] = output_gate * np.tanh(self._cells[step + 1])
            self._gates[step] = gates
        last: Array = self._states[-1]
        return last

    def backward(self, gradient: Array) -> Array:
        """Back-propagation through time, from the gradient of the last state (N, H)."""
        size, steps = self.hidden, len(self._gates)
        d_gates = np.empty_like(self._gates)
        d_state, d_cell = gradient, np.zeros_like(gradient)
        for step in reversed(range(steps)):
            input_gate, forget_gate, candidate, output_gate = np.split(self._gates[step], 4, axis=1)
            activated = np.tanh(self._cells[step + 1])
            d_cell = d_cell + d_state * output_gate * (1 - activated**2)
            d_gates[step] = np.concatenate(
                [
                    d_cell * candidate * input_gate * (1 - input_gate),
                    d_cell * self._cells[step] * forget_gate * (1 - forget_gate),
                    d_cell * input_gate * (1 - candidate**2),
                    d_state * activated * output_gate * (1 - output_gate),
                ],
                axis=1,
            )
            d_cell = d_cell * forget_gate
            d_state = d_gates[step] @ self.weights["recurrent"].T
        flat = d_gates.reshape(-1, 4 * size)
        self.gradients = {
            "input": np.tensordot(self._x, d_gates, axes=([1, 0], [0, 1])),
            "recurrent": self._states[:-1].reshape(-1, size).T @ flat,
            "bias": flat.sum(0),
        }
        d_x: Array = (d_gates @ self.weights["input"].T).swapaxes(0, 1)
        return d_x


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    out: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return out


def softmax(logits: Array) -> Array:
    """Probabilities (N, C); rows sum to 1."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    out: Array = shifted / shifted.sum(1, keepdims=True)
    return out


def cross_entropy(logits: Array, labels: Ids) -> tuple[float, Array]:
    """Mean cross-entropy of logits (N, C) and labels (N,), and its gradient (N, C)."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    loss = float((np.log(np.exp(shifted).sum(1)) - shifted[rows, labels]).mean())
    gradient = softmax(logits)
    gradient[rows, labels] -= 1
    return loss, gradient / len(labels)


class HasLayers(Protocol):
    """A model that `SGD` can update."""

    layers: list[Layer]


class SGD:
    """Stochastic gradient descent; of an embedding it updates only the rows of the batch."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def step(self, model: HasLayers) -> None:
        """Subtract the scaled gradients from all weights."""
        for layer in model.layers:
            for name, gradient in layer.gradients.items():
                if isinstance(layer, Embedding):
                    layer.weights[name][layer.rows] -= self.learning_rate * gradient
                else:
                    layer.weights[name] -= self.learning_rate * gradient
