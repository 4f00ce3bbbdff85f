"""The backbones that have a short name."""

BACKBONES = {
    "embedded": "small hybrid ViT whose pre-trained weights ship with the package (offline)",
    "tiny": "random ViT of a few thousand weights, for tests",
}
