"""Configs of the smallest networks and the shortest recipe; a test changes what it is about: ``FA_CNN | {...}``."""

FA_CNN = {
    "name": "fa_cnn",
    "skip": "damped",
    "head": "gap",
    "alpha": 0.5,
    "maps_per_class": 3,
    "unshuffle": 1,
    "blocks": [1, 1],
    "pool": [1, 2],
    "squeeze": [4, 4],
    "hidden": [4, 4],
    "depth": [1, 1],
    "shrink": [1, 1],
    "scale": 10.0,
    "learn_scale": True,
}
ONE_STAGE = {"blocks": [1], "pool": [1], "squeeze": [4], "hidden": [4], "depth": [1], "shrink": [1]}
RESNET = {"name": "resnet_small", "widths": [4, 8], "blocks": [1, 1]}
RECIPE = {
    "epochs": 1,
    "batch_size": 2,
    "optimizer": "adamw",
    "lr": 0.01,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "schedule": "constant",
    "warmup": 0.0,
    "label_smoothing": 0.0,
    "precision": "fp32",
    "memory_format": "contiguous",
    "compile": "never",
    "val_fraction": 0.0,
    "locality": 0.0,
    "augment": {"crop": 0, "flip": False, "cutout": 0, "removal": 0.0},
}
