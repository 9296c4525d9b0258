"""Decoded photos of a set in one .npz, for gpu.py on a machine without this package's libraries.

.venv/bin/python benchmarks/decoded.py --data DIR --out flowers.npz
.venv/bin/python benchmarks/decoded.py --data cifar10:FILE --out cifar10.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Writes photos uint8 [N, S, S, 3], labels int64 [N] and split, as text [N]."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="as for `flowers train`")
    parser.add_argument("--size", type=int, help="px of a side; what suits the set when left out")
    parser.add_argument("--cache", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    from dataclasses import replace

    import numpy as np

    from flowers.config import usual
    from flowers.data import prepared

    config = usual(arguments.data)
    config = replace(config, size=arguments.size or config.size)
    ready = prepared.prepare(arguments.data, config, data=arguments.cache)
    listed = ready.catalogue
    np.savez(
        arguments.out,
        photos=np.asarray(ready.pixels),
        labels=listed.label_ids.astype(np.int64),
        split=listed.usable["split"].to_numpy().astype("U10"),
    )


if __name__ == "__main__":
    main()
