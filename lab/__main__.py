"""`python -m lab`: the command line; an expected error is one line and exit code 1."""

from lab.cli import run

if __name__ == "__main__":
    run()
