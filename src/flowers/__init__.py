"""flowers: a folder of photos in; a classifier its owner can trust, explain and ship out.

The rooms, from the ground up (a folder imports from lower floors only):

    config, errors, files      numbers, messages, atomic writing
    data/    model/            photos to batches; networks          (do not know each other)
    train/                     the frozen part once, then phases
    judge/                     how good it is, as numbers and pictures
    ship/                      from the trained model to answers
    pipeline                   the main job as one function
    cli                        parses, calls, prints

Importing the package loads nothing heavy.
"""

__version__ = "0.1.0"
