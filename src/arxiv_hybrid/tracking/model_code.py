"""The script from which MLflow loads the served model. Nothing imports it.

MLflow stores a copy of this file with the model and runs it whenever the model is loaded
("models from code"), so nothing is pickled. It needs the packages of
`served_model.PACKAGES` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.system.errors import UserError


class ServedClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A saved classifier as a pyfunc model: title and abstract to category and probabilities."""

    def load_context(self, context: Any) -> None:
        """Load the classifier folder that was logged as the artifact `classifier`."""
        folder = Path(context.artifacts["classifier"])
        self._classifier = checkpoint.load(folder, device="auto", precision="auto")

    def predict(  # the signature is MLflow's
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: Any = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Classify papers; a malformed request becomes status 400 with the reason."""
        try:
            return self._classifier.classify(model_input)
        except UserError as error:
            raise mlflow.exceptions.MlflowException.invalid_parameter_value(str(error)) from None


mlflow.models.set_model(ServedClassifier())
