"""Runs the notebooks and writes them as they ran.

    python notebooks/execute.py [NOTEBOOK ...]
    python notebooks/execute.py --as-is FOLDER [NOTEBOOK ...]

The first rewrites the committed notebooks. They run as under test, by the settings in conftest.py:
offline, on painted flowers, without downloaded weights; so whoever runs it gets the same files.
The second leaves them alone and runs them under the settings of the shell, on real photos where
there is a network or FLOWERS_DATA and FLOWERS_WEIGHTS name some; the results go to FOLDER, where
data/ and models/ go as well.
"""

import argparse
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ABOUT_PYTHON = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
VARIABLES = tuple(f"FLOWERS_{name}" for name in ("DATA", "WEIGHTS", "SIGNS", "CIFAR10", "OTHERS"))
HOURS = 6  # of patience with one cell: training on a CPU is slow


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--as-is", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    chosen = options.notebooks or sorted(HERE.glob("[0-9]*.ipynb"))
    if options.as_is is None:
        sys.path.insert(0, str(HERE.parent))
        import conftest  # noqa: F401  (its import settles the environment)
    else:
        _use_the_shell(options.as_is.absolute())
    for path in chosen:
        started = time.monotonic()
        target = path if options.as_is is None else options.as_is / path.name
        execute(path, target)
        weight = target.stat().st_size / 1000
        print(f"{path.name}: {time.monotonic() - started:.0f} s, {weight:.0f} kB", flush=True)


def _use_the_shell(folder: Path) -> None:
    """Settles where files go; paths in the settings hold wherever the kernel starts."""
    os.environ.setdefault("FLOWERS_LESSONS", str(folder))
    os.environ["FLOWERS_PROGRESS"] = "off"
    for name in VARIABLES:
        kind, _, place = os.environ.get(name, "").rpartition(":")  # PATH, or signs:PATH
        if place and Path(place).exists():
            os.environ[name] = ":".join(filter(None, [kind, str(Path(place).absolute())]))


def execute(source: Path, target: Path) -> None:
    """Runs a notebook in a fresh kernel, in its own folder, and writes it to `target`."""
    import nbformat
    from nbclient import NotebookClient

    from flowers import files

    book = nbformat.read(source, as_version=4)
    place = {"metadata": {"path": str(source.resolve().parent)}}
    # What C++ prints does not reach the outputs under nbval either.
    client = NotebookClient(book, timeout=HOURS * 3600, kernel_name="python3", resources=place)
    client.extra_arguments = ["--IPKernelApp.capture_fd_output=False"]
    client.execute()
    files.write_text(target, nbformat.writes(tidied(book)) + "\n")


def tidied(book):
    """The notebook without what differs from run to run: times, versions of the kernel."""
    import nbformat

    for cell in book.cells:
        kept = {"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {}
        cell.metadata = nbformat.NotebookNode(kept)
        if cell.cell_type == "code":
            cell.outputs = _merged(cell.outputs)
    book.metadata = nbformat.from_dict(ABOUT_PYTHON)
    return book


def _merged(outputs: list) -> list:
    """The outputs with what was printed in several pieces as one piece."""
    merged = []
    for output in outputs:
        before = merged[-1] if merged else None
        if output.output_type == "stream" and before and before.get("name") == output.name:
            before.text += output.text
        else:
            merged.append(output)
    return merged


if __name__ == "__main__":
    main(sys.argv[1:])
