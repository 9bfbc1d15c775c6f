"""How a network is trained: recipe, loop, moving average, augmentation, pretrained weights, several processes."""
