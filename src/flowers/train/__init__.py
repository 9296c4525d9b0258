"""From pixels and a network to a trained network: the frozen part once, then phases."""
