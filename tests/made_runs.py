"""Runs as the report finds them: their tables and figures written by hand, so that its verdicts are known."""

import json

import pandas as pd

from fa_repro.reporting.claims import judge
from fa_repro.reporting.collect import ALONE, groups

PROVENANCE = {
    "seed": 0,
    "device": "cpu",
    "packages": {"torch": "2.9"},
    "git": {"commit": "0123456789ab", "dirty": False},
}


def make_run(root, command, name, tables=None, metrics=None, pictures=()):
    path = root / command / name
    path.mkdir(parents=True)
    (path / "provenance.json").write_text(json.dumps(PROVENANCE))
    for file, rows in (tables or {}).items():
        pd.DataFrame(rows).to_csv(path / file, index=False)
    if metrics:
        (path / "metrics.json").write_text(json.dumps(metrics))
    for picture in pictures:
        (path / picture).write_bytes(b"")


def metrics(top1):
    return {
        "top1": top1, "loss": 1.0, "n_test": 100, "n_train": 900, "parameters": 1_000_000, "macs": 30_000_000,
        "epochs": 2, "precision": "fp32", "images_per_second": 400.0, "seconds": 60.0,
    }  # fmt: skip


def identity_rows(holds, error):
    return [
        {"target": "cat", "dtype": dtype, "reference": "autograd", "images": 4, "max_rel_error": error, "holds": holds}
        for dtype in ("float64", "float32")
    ]


# Relative change, cosine to the previous and to the last maps, layer by layer: measured on shapes (first two rounded).
MORPHING = {
    "fa_cnn": [(0.77, 0.77, 0.61), (0.81, 0.73, 0.71), (0.98, 0.71, 1.0)],
    "fa_cnn_plain": [(1.57, 0.49, 0.33), (1.20, 0.27, 0.31), (1.18, 0.31, 1.0)],
    "fa_cnn_undamped": [(1.74, 0.77, 0.84), (0.77, 0.88, 0.94), (0.50, 0.94, 1.0)],
}


def morphing_rows(name):
    columns = ("relative_change", "cosine_to_previous", "cosine_to_last")
    return [dict(zip(columns, row, strict=True)) | {"holds": True} for row in MORPHING.get(name, MORPHING["fa_cnn"])]


def verify(root, name, holds=True):
    error = 1e-16 if holds else 0.5
    tables = {"identity.csv": identity_rows(holds, error)}
    if name != "resnet_small":
        tables["morphing.csv"] = morphing_rows(name)
        tables["decomposition.csv"] = [
            {"dtype": "float64", "part": "pixels", "max_rel_error": None, "holds": None},
            {"dtype": "float64", "part": "sum of parts", "max_rel_error": 1e-16, "holds": True},
        ]
    make_run(root, "verify-gradcam", name, tables, pictures=["identity.png"])


def around(name, value, half):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def removal(root, name, areas, share):
    reference = "feature_map" if "feature_map" in areas else next(iter(areas))
    rows = [
        {"method": method, "n": 100, "reference": reference}
        | around("lerf_minus_morf", area, 0.01)
        | around("minus_reference", area - areas[reference], 0.01)
        | around("won", 0.25, 0.05)
        | around("share_of_occlusion", share.get(method, 1.0), 0.02)
        | around("minus_random", area, 0.01)
        | around("minus_center", area - 0.1, 0.01)
        for method, area in areas.items()
    ]
    rows = [row | {"imputation": "mean"} for row in rows]
    # A second imputation under which everything is lost: no verdict may go by it.
    rows += [row | {"imputation": "zero", "lerf_minus_morf": -1.0, "minus_reference_low": 1.0} for row in rows]
    summary = [
        {"method": row["method"], "order": order, "imputation": row["imputation"]}
        | around("auc_probability", value, 0.01)
        for row in rows
        for order, value in (("morf", 0.25), ("lerf", 0.25 + row["lerf_minus_morf"]))
    ]
    told = {"conditions": f"{name}, 100 images.", "warnings": {"mean": [], "zero": ["A control wins."]}}
    make_run(root, "benchmark-removal", name, {"differences.csv": rows, "summary.csv": summary}, told)


def support_claims(root):
    """Make the runs of a group that bear out every claim."""
    for name in ("fa_cnn", *ALONE, "resnet_small"):
        make_run(root, "train", name, metrics=metrics(0.9 if name == "fa_cnn" else 0.905), pictures=["curves.png"])
    verify(root, "fa_cnn")
    verify(root, "fa_cnn_linear_head", holds=False)
    verify(root, "fa_cnn_plain")
    verify(root, "fa_cnn_undamped")
    verify(root, "resnet_small", holds=False)
    areas = {"feature_map": 0.3, "permutation": 0.2, "occlusion": 0.4, "random": 0.0, "center": 0.1}
    removal(root, "fa_cnn", areas, {"feature_map": 0.75})
    removal(root, "resnet_small", {"grad_cam": 0.2, "occlusion": 0.4}, {"grad_cam": 0.5})


def verdicts(results):
    (group,) = groups(results)
    return {claim: verdict.answer for claim, verdict in judge(group).items()}
