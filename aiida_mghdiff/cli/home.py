"""Keep AiiDA out of the user's home: `demo` and `profile` have folders of their own.

Imports nothing of AiiDA before it is asked to: the import itself is what makes ``~/.aiida``.
"""

from __future__ import annotations

import os
import tempfile
import warnings


def import_aiida() -> None:
    """Import AiiDA's configuration with a folder that is gone at once, in place of ``~/.aiida``."""
    before = os.environ.get('AIIDA_PATH')
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # "Creating AiiDA configuration folder"
        os.environ['AIIDA_PATH'] = folder
        try:
            import aiida.manage.configuration  # noqa: F401
        finally:
            del os.environ['AIIDA_PATH']
            if before is not None:
                os.environ['AIIDA_PATH'] = before
