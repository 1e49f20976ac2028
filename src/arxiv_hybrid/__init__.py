"""From arXiv metadata to a trained, measured, explained paper classifier.

Import it before torch: it sets how long OpenMP's threads spin, which torch reads when it is loaded.
If torch is imported first, everything works, but slowly while other programs use the cores.
"""

from arxiv_hybrid.system.runtime import limit_spinning

__version__ = "0.1.0"

limit_spinning()  # here, because every stage, command, script and user of the library passes here
