"""AiiDA plugin for tracer diffusion in metals with machine-learning potentials.

Users import from here; ``__init__.pyi`` lists all names. A module is loaded when its name is first used, so that the
import of the package itself is fast.
"""

import lazy_loader

__version__ = '0.1.0'
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
