"""The optional libraries of the demo, asked for by name when they are needed.

The rest of Raythena runs without Pythia, fastjet and Jinja2. Whoever calls into the demo without them is told what to install
instead of being shown an ImportError.
"""

from __future__ import annotations

import importlib
from typing import Any

from raythena.domain.errors import InvalidInput


def optional(module: str) -> Any:
    """The module called `module`. Raises InvalidInput with the command to install it when it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(
            "demo",
            module,
            f"cannot be imported ({error})",
            expected="the optional extra 'demo'",
            hint="pip install 'raythena[demo]'",
        ) from error
