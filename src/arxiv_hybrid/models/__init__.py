"""The classifiers: `from arxiv_hybrid.models import HybridCNNLSTM`, or by name with `build`."""

from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.models.hybrid import BaselineCNNLSTM, CharacterHybrid, HybridCNNLSTM
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.models.pooled import PooledCNN
from arxiv_hybrid.models.reference import ReferenceV1
from arxiv_hybrid.models.registry import MODELS, build
from arxiv_hybrid.models.serial import SerialCNNLSTM

__all__ = [
    "MODELS",
    "BaselineCNNLSTM",
    "CharacterHybrid",
    "HybridCNNLSTM",
    "PairedCNNLSTM",
    "PaperClassifier",
    "PooledCNN",
    "ReferenceV1",
    "SerialCNNLSTM",
    "build",
]
