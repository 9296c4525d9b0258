"""From files to arrays: read, catalogue, split, cache and augment photos.

    photos        reads ONE photo safely; nothing else in the project opens one
    colours       any stored form of a photo as 8-bit sRGB
    listing       what lies in a folder of class folders
    parallel      one function over many photos on all cores
    duplicates    finds photos that are the same or look it
    splits        train, validation, test and folds that no look-alikes straddle
    catalogue     one row a photo: what it is, what is wrong with it, where it belongs
    findings      all that is wrong with a folder, in plain words
    pixels        every usable photo at one size in one memory-mapped array
    augment       seeded variations of photos

Sources of whole sets (downloads, archives, the painted flowers) stand beside these.
"""
