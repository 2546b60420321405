"""The `raythena` command: what a person types, and what they read back.

Each command lives in a module of its own and is registered in `app`; `settings` gathers what can be set. Starting the program
must stay quick, so a command imports Ray, uproot and the like in its own body, never at the top of its module.
"""

from raythena.cli.app import main

__all__ = ["main"]
