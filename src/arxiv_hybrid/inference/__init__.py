"""From papers to probabilities, without training code: encoding, prediction, saved classifiers."""
