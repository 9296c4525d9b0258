"""How the painted flowers are painted, with numpy and Pillow.

    surfaces   petals, florets and caps as curved surfaces in space
    heads      the flower heads of the five species
    plants     how each species stands: leaves, stem, a vase
    canvas     light, and the depth buffer that surfaces are drawn into
    grounds    what is behind the flowers

`data.painted` puts them together. Camera space: x right, y up, both 0 in the middle of the
picture, z towards the viewer; lengths are in picture widths. A flower's own space: its axis is z
and the radius of its head is 1.
"""
