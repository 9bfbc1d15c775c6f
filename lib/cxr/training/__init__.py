"""Training: recipe, loop, exponential moving average, augmentation, ImageNet weights, several processes."""
