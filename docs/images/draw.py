"""Draws docs/images/demo.svg: the live display at one moment of a real job, from the status file it left.

python docs/images/draw.py STATUS.json
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from raythena.monitor.display import picture
from raythena.monitor.snapshot import read_snapshot


def main() -> None:
    """Draw."""
    snapshot = read_snapshot(Path(sys.argv[1]))
    if snapshot is None:
        raise SystemExit("no such status file")
    console = Console(file=io.StringIO(), record=True, width=88, force_terminal=True)
    console.print("[bold]$ make demo[/bold]")
    console.print(picture(snapshot.progress))
    drawing = console.export_svg(title="raythena demo")
    drawing = re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL)  # no fonts from elsewhere
    Path(__file__).with_name("demo.svg").write_text(drawing)


if __name__ == "__main__":
    main()
