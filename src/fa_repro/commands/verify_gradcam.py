"""``fa-repro verify-gradcam``: are the feature maps the Grad-CAM maps? Exit code 0 if T1, T2 and T3 hold, 1 if not."""

from copy import deepcopy
from importlib.util import find_spec
from math import isfinite
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from fa_repro.device import arithmetic, choose_device, describe
from fa_repro.models import FeatureAlignCNN
from fa_repro.models.fa_cnn import FeatureAlignBackbone
from fa_repro.plotting import png
from fa_repro.proofs import decomposition, identity, morphing
from fa_repro.proofs.figures import identity_figure, morphing_figure
from fa_repro.rundir import RunDir
from fa_repro.subject import open_subject

ROWS = 5  # images in identity.png
CLASSES = 4  # classes in morphing.png


def run(cfg: DictConfig) -> int:
    """Verify as ``cfg`` (``configs/verify_gradcam.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    device = choose_device(cfg.device)
    subject = open_subject(cfg, "verify-gradcam", own=True)
    rundir = RunDir(cfg, "verify-gradcam", subject.run_name, subject.inputs)
    if rundir.finished:
        return rundir.report_finished()
    chosen = subject.load().sample(cfg.n_images, cfg.seed)
    name, classes, labels = subject.name, subject.classes, chosen.labels
    # Gradients of the maps are wanted, those of the weights are not.
    model, images = subject.frozen().to(device), chosen.images.to(device).double() / 255

    used = [r for r in identity.REFERENCES if r != "captum" or find_spec("captum")]
    if "captum" not in used:
        print("captum is not installed: our own autograd is the only reference (pip install 'fa-repro[captum]').")
    t1: list[dict[str, Any]] = []
    t2: list[dict[str, Any]] = []
    t3: list[dict[str, Any]] = []
    for dtype in (torch.float64, torch.float32):
        exact, inputs = deepcopy(model).to(dtype), images.to(dtype)
        with arithmetic(device, torch.float32):  # float64 knows no other
            references = {r: identity.REFERENCES[r](exact, inputs, cfg.score) for r in used}
            t1 += identity.check_identity(exact, inputs, references, classes, name)
            if isinstance(exact, FeatureAlignCNN):
                t3 += decomposition.check_decomposition(exact, inputs)
        if isinstance(exact, FeatureAlignBackbone) and dtype == torch.float64:
            t2 = morphing.check_morphing(exact, inputs)

    def table(file: str, lines: list[dict[str, Any]], columns: tuple[str, ...]) -> bool:
        frame = pd.DataFrame(lines, columns=list(columns))
        rundir.write_text(file, frame.to_csv(index=False, float_format="%.6g"))
        return bool(frame.holds.dropna().all())

    answers = {
        f"T1 identity: {_own(model)} = Grad-CAM of the {cfg.score}": (
            table("identity.csv", t1, identity.COLUMNS),
            _worst(t1),
        ),
    }
    if t2:
        largest = max(line["relative_change"] for line in t2)
        words = f"largest mean relative change of a layer {largest:.3f}"
        answers["T2 morphing: every layer's change is within its bound"] = (
            table("morphing.csv", t2, morphing.COLUMNS),
            words,
        )
    if t3:
        holds = table("decomposition.csv", t3, decomposition.COLUMNS)
        answers["T3 decomposition: the parts of all depths add up to the logit"] = (holds, _worst(t3))
    _draw(rundir, model, images, labels, classes, cfg.score)
    code = 0 if all(holds for holds, _ in answers.values()) else 1
    rundir.finish(describe(device), exit_code=code)
    print(f"{name}, {len(images)} images of {len(classes)} classes:")
    for claim, (holds, words) in answers.items():
        print(f"  {'YES' if holds else 'NO '}  {claim}; {words}")
    if not hasattr(model, "class_maps"):
        print(f"  {name} has no class maps; each Grad-CAM map was compared with the feature-map channel nearest to it.")
    return code


def _own(model: nn.Module) -> str:
    return "class map" if hasattr(model, "class_maps") else "best feature-map channel"


def _worst(lines: list[dict[str, Any]]) -> str:
    checked = [line for line in lines if line.get("holds") is not None]
    by_dtype: dict[str, float] = {}
    for line in checked:
        by_dtype[line["dtype"]] = max(by_dtype.get(line["dtype"], 0.0), line["max_rel_error"])
    limits = {line["dtype"]: line["tolerance"] for line in checked}

    def words(error: float) -> str:
        return f"{error:.1e}" if isfinite(error) else "infinite (Grad-CAM is empty where the map is not)"

    return "largest relative error " + ", ".join(
        f"{words(error)} in {dtype} (limit {limits[dtype]:.1e})" for dtype, error in by_dtype.items()
    )


def _draw(
    rundir: RunDir, model: nn.Module, images: Tensor, labels: Tensor, classes: tuple[str, ...], score: str
) -> None:
    model, shown = deepcopy(model).double(), images[:ROWS]
    with torch.no_grad():
        logits = model(images)
    predicted = logits.argmax(1)
    every = torch.arange(len(shown), device=images.device)
    reference = identity.grad_cam_maps(model, shown, score)
    fa_cnn = hasattr(model, "class_maps")
    own = identity.own_maps(model, shown) if fa_cnn else identity.best_candidate(model, shown, reference)
    titles = [f"{classes[int(y)]},\nas {classes[int(p)]}" for y, p in zip(labels[:ROWS], predicted[:ROWS], strict=True)]
    own_name = "feature map" if fa_cnn else "best channel"
    pairs = own[every, predicted[: len(shown)]], reference[every, predicted[: len(shown)]]
    rundir.write("identity.png", png(identity_figure(shown, *pairs, titles, own_name)))
    if isinstance(model, FeatureAlignBackbone):
        right = (predicted.cpu() == labels).nonzero()[:, 0].tolist()
        i = right[0] if right else 0
        likeliest = logits[i].argsort(descending=True)[:CLASSES].tolist()
        chosen = [(k, f"{classes[k]}: {logits[i].softmax(0)[k]:.2f}") for k in likeliest]
        rundir.write("morphing.png", png(morphing_figure(model, images[i], chosen)))
