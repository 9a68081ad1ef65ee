"""Find the files that ship with streamtrack: web page, configurations, embedded weights."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(relative: str) -> Path:
    """Return the path of a shipped file or folder.

    Args:
        relative: a path below the project's top level, such as "web/index.html".

    Raises:
        FileNotFoundError: the installation lacks the file.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (path := root / relative).exists():
            return path
    raise FileNotFoundError(
        f"{relative} is not part of this installation of streamtrack; install it again."
    )
