"""``fa-repro benchmark-localization``: do the maps lie where the object is? Every method beside the controls."""

import gzip
import json
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from torch import nn
from tqdm import tqdm

from fa_repro.attribution import Context, check_captum
from fa_repro.bounds import check_word
from fa_repro.data import ImageSet
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.localization import Measured, make_mosaics, measure_grid, measure_truth, per_image_table, with_truth
from fa_repro.localization.examples import explain_examples, explain_mosaic
from fa_repro.localization.figures import bars_figure, examples_figure
from fa_repro.localization.mosaics import Mosaics
from fa_repro.localization.summary import localization_table, summary_markdown, warnings
from fa_repro.plotting import png
from fa_repro.ready import make_ready
from fa_repro.rundir import RunDir
from fa_repro.subject import open_subject

AGAINST_TRUTH = ("pointing_game", "energy")


def run(cfg: DictConfig) -> int:
    """Benchmark as ``cfg`` (``configs/benchmark_localization.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    check_captum(cfg.methods)
    check_word("target", cfg.target, ("predicted", "label"))
    device = choose_device(cfg.device)
    measures = list(dict.fromkeys(cfg.measures))
    against_truth = [measure for measure in measures if measure in AGAINST_TRUTH]
    subject = open_subject(cfg, "benchmark-localization", truth=bool(against_truth))
    rundir = RunDir(cfg, "benchmark-localization", subject.run_name, subject.inputs)
    if rundir.finished:
        return rundir.report_finished()

    test = subject.load()
    sample = test.sample(cfg.n_images, cfg.seed)
    chosen = with_truth(test, subject.data, cfg.n_images, cfg.seed) if against_truth else sample
    explained, model, methods, notes, context, settled = make_ready(subject, chosen, cfg, device)
    images = explained if against_truth else None
    mosaics = None
    on_mosaics = [measure for measure in measures if measure not in AGAINST_TRUTH]
    if on_mosaics:
        wanted = {"count": cfg.mosaics, "confidence": cfg.confidence, "seed": cfg.seed, "batch_size": cfg.batch_size}
        try:
            mosaics = make_mosaics(model, subject.name, sample.to(device), cfg.grid, **wanted)
        except InputError as error:
            if images is None:
                raise
            names = " and ".join(f"`{measure}`" for measure in on_mosaics)
            notes.append(f"{names} {'are' if len(on_mosaics) > 1 else 'is'} left out: {error}")
            print(notes[-1])

    rundir.start()
    found, tables = _measure(model, images, mosaics, methods, against_truth, on_mosaics, context, cfg)
    table = localization_table(found, cfg.bootstrap, cfg.seed)
    conditions = f"{subject.words}. "
    figures: dict[str, Any] = {}
    if images is not None:
        assert test.masks is not None and images.masks is not None
        without = int((~test.masks.flatten(1).any(1)).sum())
        figures |= {"n_images": len(images), "test_images_without_truth": without}
        conditions += (
            f"Against the truth: {len(images)} test images of {subject.data} ({without} without a truth are "
            f"left out), map of the {'label' if cfg.target == 'label' else 'predicted class'}, tolerance of the "
            f"pointing game {cfg.tolerance} pixels. "
        )
    if mosaics is not None:
        figures |= {"n_mosaics": len(mosaics.images), "grid": cfg.grid}
        conditions += (
            f"Mosaics: {len(mosaics.images)} of {cfg.grid}x{cfg.grid} test images of {subject.data}, "
            f"distinct classes, all classified correctly with probability {cfg.confidence:g} or more, none used twice. "
        )
    conditions += f"{settled[0].upper()}{settled[1:]}."
    page = summary_markdown(f"Localization: {subject.run_name}", conditions, table, [*warnings(found, table), *notes])
    rundir.write_text("localization.csv", table.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("metrics.json", json.dumps({"conditions": conditions, **figures}, indent=1) + "\n")
    rundir.write_text("summary.md", page)
    lines = pd.concat(tables).to_csv(index=False).encode()
    # No time stamp inside: the same rows are the same file.
    rundir.write("per_image.csv.gz", lambda file: file.write(gzip.compress(lines, compresslevel=6, mtime=0)))
    rundir.write("bars.png", png(bars_figure(table, subject.words)))
    examples = None if images is None else explain_examples(model, images, methods, cfg.target, context)
    shown = None if mosaics is None else explain_mosaic(model, mosaics, cfg.grid, methods, context, test.classes)
    rundir.write("examples.png", png(examples_figure(methods, examples, shown)))
    rundir.finish(describe(device))
    print(page)
    return 0


def _measure(
    model: nn.Module,
    images: ImageSet | None,
    mosaics: Mosaics | None,
    methods: list[str],
    against_truth: list[str],
    on_mosaics: list[str],
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
            of_mosaics = measure_grid(
                model,
                mosaics.images,
                mosaics.classes,
                cfg.grid,
                measures=on_mosaics,
                methods=methods,
                context=context,
                tick=bar.update,
            )
            found += of_mosaics
            tables += [per_image_table(measured, mosaics.rows.numpy()) for measured in of_mosaics]
    return found, tables
