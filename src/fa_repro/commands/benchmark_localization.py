"""``fa-repro benchmark-localization``: do the maps lie where the object is? Every method beside the controls."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from tqdm import tqdm

from fa_repro.attribution import Context, check_captum, choose_methods
from fa_repro.checkpoint import check_images, load_checkpoint, merge_data
from fa_repro.config import check_word
from fa_repro.data import ImageSet, boxes, load_data
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.localization import Measured, make_mosaics, measure_grid, measure_truth, per_image_table, with_truth
from fa_repro.localization.examples import explain_examples, explain_mosaic
from fa_repro.localization.figures import bars_figure, examples_figure
from fa_repro.localization.mosaics import Mosaics
from fa_repro.localization.summary import localization_table, summary_markdown, warnings
from fa_repro.models import Task
from fa_repro.plotting import png
from fa_repro.rundir import RunDir, data_label, digest

AGAINST_TRUTH = ("pointing_game", "energy")


def run(cfg: DictConfig) -> int:
    """Benchmark as ``cfg`` (``configs/benchmark_localization.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    if cfg.checkpoint is None:
        raise InputError(
            "benchmark-localization needs checkpoint=PATH; `fa-repro train` writes RESULTS/train/NAME/checkpoint.pt."
        )
    check_captum(cfg.methods)
    check_word("target", cfg.target, ("predicted", "label"))
    device = choose_device(cfg.device)
    checkpoint = load_checkpoint(cfg.checkpoint)
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    data_config = merge_data(checkpoint, config["data"])
    measures = list(dict.fromkeys(cfg.measures))
    against_truth = [measure for measure in measures if measure in AGAINST_TRUTH]
    inputs = {"checkpoint": digest(Path(cfg.checkpoint))}
    if against_truth and (file := _boxes(data_config)) is not None:
        inputs["boxes"] = digest(file)
    name = cfg.name or f"{data_label(data_config)}-{checkpoint.model['name']}-seed{checkpoint.seed}"
    rundir = RunDir(cfg, "benchmark-localization", name, inputs)
    if rundir.finished:
        return rundir.exit_code()

    model = checkpoint.build().requires_grad_(False).to(device)
    task = Task(**checkpoint.task)
    methods, notes = choose_methods(cfg.methods, model, checkpoint.model["name"], cfg.n_images)
    test = load_data(data_config, "test", truth=bool(against_truth))
    check_images(checkpoint, test)
    images = None
    if against_truth:
        images = with_truth(test, data_label(data_config), cfg.n_images, cfg.seed).to(device)
        if "permutation" in methods and len(images) < 2:
            raise InputError(
                "methods: permutation needs n_images=2 or more, as a patch is replaced by another image's."
            )
    mosaics = None
    if "grid" in measures:
        pool = test.sample(cfg.n_images, cfg.seed).to(device)
        wanted = {"count": cfg.mosaics, "confidence": cfg.confidence, "seed": cfg.seed, "batch_size": cfg.batch_size}
        try:
            mosaics = make_mosaics(model, pool, cfg.grid, **wanted)
        except InputError as error:
            if images is None:
                raise
            notes.append(f"`grid` is left out: {error}")
    for line in notes:
        print(line)

    context = Context(
        colour=torch.tensor(task.mean, device=device),
        upsampling=cfg.upsampling,
        patch=cfg.patch,
        repeats=cfg.repeats,
        seed=cfg.seed,
        batch_size=cfg.batch_size,
    )
    found, tables = _measure(model, images, mosaics, methods, against_truth, context, cfg)
    table = localization_table(found, cfg.bootstrap, cfg.seed)
    conditions = f"{checkpoint.model['name']} trained on {data_label(checkpoint.data)}. "
    figures: dict[str, Any] = {}
    if images is not None:
        assert test.masks is not None and images.masks is not None
        without = int((~test.masks.flatten(1).any(1)).sum())
        figures |= {"n_images": len(images), "test_images_without_truth": without}
        conditions += (
            f"Against the truth: {len(images)} test images of {data_label(data_config)} ({without} without a truth are "
            f"left out), map of the {'label' if cfg.target == 'label' else 'predicted class'}, tolerance of the "
            f"pointing game {cfg.tolerance} pixels. "
        )
    if mosaics is not None:
        figures |= {"n_mosaics": len(mosaics.images), "grid": cfg.grid}
        conditions += (
            f"Mosaics: {len(mosaics.images)} of {cfg.grid}x{cfg.grid} test images of {data_label(data_config)}, "
            f"distinct classes, all classified correctly with probability {cfg.confidence:g} or more, none used twice. "
        )
    conditions += f"Maps up-sampled: {cfg.upsampling}, patches of {cfg.patch} pixels, seed {cfg.seed}."
    page = summary_markdown(
        f"Localization: {name}", conditions, table, [*warnings(found, cfg.bootstrap, cfg.seed), *notes]
    )
    rundir.write_text("localization.csv", table.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("metrics.json", json.dumps({"conditions": conditions, **figures}, indent=1) + "\n")
    rundir.write_text("summary.md", page)
    lines = pd.concat(tables).to_csv(index=False).encode()
    # No time stamp inside: the same rows are the same file.
    rundir.write("per_image.csv.gz", lambda file: file.write(gzip.compress(lines, compresslevel=6, mtime=0)))
    rundir.write("bars.png", png(bars_figure(table, conditions.partition(". ")[0])))
    examples = None if images is None else explain_examples(model, images, methods, cfg.target, context)
    shown = None if mosaics is None else explain_mosaic(model, mosaics, cfg.grid, methods, context, test.classes)
    rundir.write("examples.png", png(examples_figure(methods, examples, shown)))
    rundir.finish(describe(device))
    print(page)
    return 0


def _boxes(data_config: dict[str, Any]) -> Path | None:
    if data_config["name"] != "image_folder" or data_config["root"] is None:
        return None
    table = Path(data_config["root"]) / boxes.NAME
    return table if table.is_file() else None


def _measure(
    model: nn.Module,
    images: ImageSet | None,
    mosaics: Mosaics | None,
    methods: list[str],
    against_truth: list[str],
    context: Context,
    cfg: DictConfig,
) -> tuple[list[Measured], list[pd.DataFrame]]:
    """Return every measure, and its table of single maps."""
    maps = (0 if images is None else len(images)) + (0 if mosaics is None else mosaics.classes.numel())
    found: list[Measured] = []
    tables: list[pd.DataFrame] = []
    with tqdm(total=maps * len(methods), desc="scoring maps", unit="map", delay=2, disable=None) as bar:
        if images is not None:
            assert images.masks is not None
            found += measure_truth(
                model,
                images.images,
                images.labels,
                images.masks,
                measures=against_truth,
                methods=methods,
                target=cfg.target,
                tolerance=cfg.tolerance,
                context=context,
                tick=bar.update,
            )
            tables += [per_image_table(measured, images.rows[:, None].numpy()) for measured in found]
        if mosaics is not None:
            found.append(
                measure_grid(
                    model, mosaics.images, mosaics.classes, cfg.grid, methods=methods, context=context, tick=bar.update
                )
            )
            tables.append(per_image_table(found[-1], mosaics.rows.numpy()))
    return found, tables
