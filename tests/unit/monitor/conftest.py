"""Makes `page_kit` importable: pytest's importlib mode does not put test directories on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
