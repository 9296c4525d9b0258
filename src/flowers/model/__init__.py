"""Networks: the pretrained backbone, the classifier on top of it, ResNets written out."""
