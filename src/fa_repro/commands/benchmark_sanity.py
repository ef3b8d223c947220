"""``fa-repro benchmark-sanity``: do the maps change when the network's weights are randomised, layer by layer?"""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from fa_repro.attribution import Context, check_captum, choose_methods
from fa_repro.checkpoint import check_images, load_checkpoint, merge_data
from fa_repro.data import load_data
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.models import Task
from fa_repro.plotting import png
from fa_repro.rundir import RunDir, data_label, digest
from fa_repro.sanity import layers, left_as_they_are, measure
from fa_repro.sanity.figures import sanity_figure
from fa_repro.sanity.summary import sanity_table, summary_markdown


def run(cfg: DictConfig) -> int:
    """Check as ``cfg`` (``configs/benchmark_sanity.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    if cfg.checkpoint is None:
        raise InputError(
            "benchmark-sanity needs checkpoint=PATH; `fa-repro train` writes RESULTS/train/NAME/checkpoint.pt."
        )
    check_captum(cfg.methods)
    device = choose_device(cfg.device)
    checkpoint = load_checkpoint(cfg.checkpoint)
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    data_config = merge_data(checkpoint, config["data"])
    model_name = checkpoint.model["name"]
    name = cfg.name or f"{data_label(data_config)}-{model_name}-seed{checkpoint.seed}"
    rundir = RunDir(cfg, "benchmark-sanity", name, {"checkpoint": digest(Path(cfg.checkpoint))})
    if rundir.finished:
        return rundir.exit_code()

    model = checkpoint.build().requires_grad_(False).to(device)
    test = load_data(data_config, "test")
    check_images(checkpoint, test)
    images = test.sample(cfg.n_images, cfg.seed).to(device)
    methods, left_out = choose_methods(cfg.methods, model, model_name, len(images))
    for line in left_out:
        print(line)
    order = layers(model, images.images[:1].float() / 255)
    if not order:
        raise InputError(f"model {model_name}: none of its layers has weights that can be drawn anew.")

    targets = images.labels
    if cfg.target == "predicted":
        with torch.no_grad():
            batches = images.images.split(cfg.batch_size)
            targets = torch.cat([model(batch.float() / 255).argmax(1) for batch in batches])
    context = Context(
        colour=torch.tensor(Task(**checkpoint.task).mean, device=device),
        upsampling=cfg.upsampling,
        patch=cfg.patch,
        repeats=cfg.repeats,
        n_steps=cfg.n_steps,
        n_samples=cfg.n_samples,
        seed=cfg.seed,
        batch_size=cfg.batch_size,
    )
    maps = len(images) * len(methods) * (len(order) + 1)
    with tqdm(total=maps, desc="randomising", unit="map", delay=2, disable=None) as bar:
        measured = measure(model, images.images, targets, order, methods=methods, context=context, tick=bar.update)

    table = sanity_table(measured, cfg.bootstrap, cfg.seed)
    conditions = (
        f"{model_name} trained on {data_label(checkpoint.data)}, {len(images)} test images of "
        f"{data_label(data_config)}, target: {cfg.target}, maps up-sampled: {cfg.upsampling}, patches of {cfg.patch} "
        f"pixels, seed {cfg.seed}. Layers are drawn anew as they were before training, from the last to the first; "
        f"batch statistics go back to mean 0 and variance 1 with them."
    )
    kept = left_as_they_are(model)
    remarks = [f"Left as trained, as no layer's own: {', '.join(f'`{weight}`' for weight in kept)}."] if kept else []
    page = summary_markdown(f"Sanity check: {name}", conditions, table, [*remarks, *left_out])
    rundir.write_text("sanity.csv", table.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("summary.md", page)
    rundir.write("sanity.png", png(sanity_figure(table, conditions.split(", target")[0])))
    rundir.finish(describe(device))
    print(page)
    return 0
