"""Layers with hand-written gradients; all work on a whole batch at once.

Each layer keeps what its `backward` needs from the last `forward`. Weights are in `weights`,
their gradients, of the same shapes, in `gradients`. Shapes: N examples, T words, D and H channels.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.int64]


class Layer:
    """Something with weights that maps a batch forwards and gradients backwards."""

    def __init__(self) -> None:
        self.weights: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        """The layer's output for a batch."""
        raise NotImplementedError

    def backward(self, gradient: Array) -> Array:
        """From the gradient of the output to that of the input; fills `gradients`."""
        raise NotImplementedError


class Embedding(Layer):
    """A row of numbers a word; row 0, padding, is zero and stays so."""

    def __init__(self, words: int, dim: int, random: np.random.Generator, dtype: Any) -> None:
        super().__init__()
        table = random.normal(0, 1 / np.sqrt(dim), (words, dim)).astype(dtype)
        table[0] = 0
        self.weights = {"table": table}

    def forward(self, x: Any) -> Array:
        """Word numbers (N, T) to vectors (N, T, D)."""
        self._ids: Ids = x
        rows: Array = self.weights["table"][x]
        return rows

    def backward(self, gradient: Array) -> Array:
        """Gradients of the batch's words only: `rows` (U,) and `values` (U, D)."""
        rows, places = np.unique(self._ids, return_inverse=True)
        values = np.zeros((len(rows), gradient.shape[-1]), dtype=gradient.dtype)
        np.add.at(values, places.ravel(), gradient.reshape(-1, gradient.shape[-1]))
        values[rows == 0] = 0
        self.rows = rows
        self.gradients = {"table": values}
        return gradient


class Conv1D(Layer):
    """Filters that slide over the words: (N, T, D) to (N, T - size + 1, filters)."""

    def __init__(
        self, dim: int, filters: int, size: int, random: np.random.Generator, dtype: Any
    ) -> None:
        super().__init__()
        scale = np.sqrt(2 / (size * dim))  # He et al. 2015, for the ReLU that follows
        kernel = random.normal(0, scale, (size, dim, filters)).astype(dtype)
        self.weights = {"kernel": kernel, "bias": np.zeros(filters, dtype)}

    def forward(self, x: Array) -> Array:
        """One matrix product for each place of the kernel."""
        self._x = x
        kernel = self.weights["kernel"]
        length = x.shape[1] - len(kernel) + 1
        if length < 1:
            raise ValueError(f"{x.shape[1]} words are fewer than the kernel's {len(kernel)}")
        parts = [x[:, place : place + length] @ kernel[place] for place in range(len(kernel))]
        out: Array = sum(parts) + self.weights["bias"]
        return out

    def backward(self, gradient: Array) -> Array:
        """See `Layer.backward`."""
        kernel, length = self.weights["kernel"], gradient.shape[1]
        d_x, d_kernel = np.zeros_like(self._x), np.empty_like(kernel)
        for place in range(len(kernel)):
            window = self._x[:, place : place + length]
            d_kernel[place] = np.tensordot(window, gradient, axes=([0, 1], [0, 1]))
            d_x[:, place : place + length] += gradient @ kernel[place].T
        self.gradients = {"kernel": d_kernel, "bias": gradient.sum((0, 1))}
        return d_x


class ReLU(Layer):
    """What is above zero."""

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
    """The largest value of each channel over the words: (N, T, D) to (N, D)."""

    def forward(self, x: Array) -> Array:
        """See `Layer.forward`."""
        self._shape = x.shape
        self._where = x.argmax(1)
        out: Array = np.take_along_axis(x, self._where[:, None], 1)[:, 0]
        return out

    def backward(self, gradient: Array) -> Array:
        """The gradient goes to the word that won, the first of equals."""
        d_x = np.zeros(self._shape, dtype=gradient.dtype)
        np.put_along_axis(d_x, self._where[:, None], gradient[:, None], 1)
        return d_x


class Dense(Layer):
    """A linear map: (N, D) to (N, out)."""

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
    """Long short-term memory (Hochreiter and Schmidhuber 1997): (N, T, D) to its last state (N, H).

    Columns of the weights are the gates in the order input, forget, cell, output. The forget
    gate's bias starts at 1, so that a new cell remembers.
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
        """All inputs are multiplied at once; then a step for each word."""
        count, steps = x.shape[:2]
        size = self.hidden
        given = x @ self.weights["input"] + self.weights["bias"]
        self._x = x
        self._states = np.zeros((steps + 1, count, size), dtype=x.dtype)
        self._cells = np.zeros((steps + 1, count, size), dtype=x.dtype)
        self._gates = np.empty((steps, count, 4 * size), dtype=x.dtype)
        for step in range(steps):
            gates = given[:, step] + self._states[step] @ self.weights["recurrent"]
            new = np.tanh(gates[:, 2 * size : 3 * size])
            gates = sigmoid(gates)
            gates[:, 2 * size : 3 * size] = new
            enter, forget, leave = (gates[:, i * size : (i + 1) * size] for i in (0, 1, 3))
            self._cells[step + 1] = forget * self._cells[step] + enter * new
            self._states[step + 1] = leave * np.tanh(self._cells[step + 1])
            self._gates[step] = gates
        last: Array = self._states[-1]
        return last

    def backward(self, gradient: Array) -> Array:
        """Back-propagation through all steps, from the last state's gradient (N, H)."""
        size, steps = self.hidden, len(self._gates)
        d_gates = np.empty_like(self._gates)
        d_state, d_cell = gradient, np.zeros_like(gradient)
        for step in reversed(range(steps)):
            enter, forget, new, leave = np.split(self._gates[step], 4, axis=1)
            squashed = np.tanh(self._cells[step + 1])
            d_cell = d_cell + d_state * leave * (1 - squashed**2)
            d_gates[step] = np.concatenate(
                [
                    d_cell * new * enter * (1 - enter),
                    d_cell * self._cells[step] * forget * (1 - forget),
                    d_cell * enter * (1 - new**2),
                    d_state * squashed * leave * (1 - leave),
                ],
                axis=1,
            )
            d_cell = d_cell * forget
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
    """Mean softmax cross-entropy of labels (N,), and its gradient for the logits (N, C)."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    loss = float((np.log(np.exp(shifted).sum(1)) - shifted[rows, labels]).mean())
    gradient = softmax(logits)
    gradient[rows, labels] -= 1
    return loss, gradient / len(labels)


class HasLayers(Protocol):
    """What `SGD` updates."""

    layers: list[Layer]


class SGD:
    """Stochastic gradient descent; of an embedding only the rows of the batch are touched."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def step(self, model: HasLayers) -> None:
        """Move all weights against their gradients."""
        for layer in model.layers:
            for name, gradient in layer.gradients.items():
                if isinstance(layer, Embedding):
                    layer.weights[name][layer.rows] -= self.learning_rate * gradient
                else:
                    layer.weights[name] -= self.learning_rate * gradient
