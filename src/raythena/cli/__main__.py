"""`python -m raythena.cli` is the command `raythena`, wherever scripts are not on PATH."""

from raythena.cli import main

if __name__ == "__main__":
    main()
