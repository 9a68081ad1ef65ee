"""`python -m streamtrack`."""

from streamtrack.cli import entry

if __name__ == "__main__":
    entry()
