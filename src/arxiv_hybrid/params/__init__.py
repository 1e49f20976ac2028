"""params.yaml: its schema, its recipes, and the values in force."""

from arxiv_hybrid.params.in_force import to_yaml, training_values, values_in_force
from arxiv_hybrid.params.load import for_member, load, load_section, parse
from arxiv_hybrid.params.schema import PUBLISHED_GLOVE, Fetch, Glove, Labels, Params, Split, Strict
from arxiv_hybrid.system.shipped import PRETRAINABLE

__all__ = [
    "PRETRAINABLE",
    "PUBLISHED_GLOVE",
    "Fetch",
    "Glove",
    "Labels",
    "Params",
    "Split",
    "Strict",
    "for_member",
    "load",
    "load_section",
    "parse",
    "to_yaml",
    "training_values",
    "values_in_force",
]
