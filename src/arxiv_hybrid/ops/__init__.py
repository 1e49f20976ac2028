"""The kernels below the models: every speed trick is here, each with a plain twin in the tests."""
