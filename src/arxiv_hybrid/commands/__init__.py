"""The commands of `python -m arxiv_hybrid`, one module each.

Every module has `run(options)`, where options are the parsed arguments. `__main__` imports only
the module that it runs, because torch and pandas take a second to load.
"""
