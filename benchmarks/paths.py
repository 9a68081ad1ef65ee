"""Makes the repository importable, and hides this folder, whose click.py is not the package."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(one for one in sys.path if Path(one).resolve() != HERE)]
