"""`flowers predict --engine ray` with actors that can be caught at work, or that die of a photo.

    python mortal.py FOLDER predict ...

Each piece of work leaves a line in FOLDER/calls: the actor's process and the first photo. Where
there is a FOLDER/trap, one actor is caught in it after some pieces: it writes its process into
FOLDER/caught and waits to be killed. Whoever is given a photo whose name says poison is killed at
once.
"""

import os
import signal
import sys
import time
from pathlib import Path

from flowers.cli import main
from flowers.scoring import on_ray

FOLDER = Path(sys.argv[1])


class Mortal(on_ray._Worker):
    """A worker whose end can be brought about."""

    def __call__(self, read):
        """The rows, unless death comes first."""
        names = read["path"].to_pylist()
        with (FOLDER / "calls").open("a") as calls:
            calls.write(f"{os.getpid()} {names[0]}\n")
        if any("poison" in name for name in names):
            os.kill(os.getpid(), signal.SIGKILL)
        if len((FOLDER / "calls").read_text().splitlines()) >= 4 and self._caught():
            (FOLDER / "caught").write_text(str(os.getpid()))
            time.sleep(600)
        return super().__call__(read)

    def _caught(self) -> bool:
        try:
            (FOLDER / "trap").unlink()
        except FileNotFoundError:
            return False
        return True


if __name__ == "__main__":
    on_ray._Worker = Mortal
    on_ray.LEAST_WINDOW, on_ray.WINDOW = 20, 5  # so that a few photos are several windows
    sys.argv = ["flowers", *sys.argv[2:]]
    main()
