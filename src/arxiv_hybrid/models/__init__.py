"""The classifiers; `registry.build` turns a name in params.yaml into a module."""
