"""``fa-repro benchmark-sanity``: do the maps change when the network's weights are randomised, layer by layer?"""

from omegaconf import DictConfig
from tqdm import tqdm

from fa_repro.attribution import check_captum
from fa_repro.attribution.targets import choose_targets
from fa_repro.bounds import check_word
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.plotting import png
from fa_repro.ready import make_ready
from fa_repro.rundir import RunDir
from fa_repro.sanity import layers, left_as_they_are, measure
from fa_repro.sanity.figures import sanity_figure
from fa_repro.sanity.summary import sanity_table, summary_markdown
from fa_repro.subject import open_subject


def run(cfg: DictConfig) -> int:
    """Check as ``cfg`` (``configs/benchmark_sanity.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    check_captum(cfg.methods)
    check_word("target", cfg.target, ("predicted", "label"))
    device = choose_device(cfg.device)
    subject = open_subject(cfg, "benchmark-sanity")
    rundir = RunDir(cfg, "benchmark-sanity", subject.run_name, subject.inputs)
    if rundir.finished:
        return rundir.report_finished()

    sample = subject.load().sample(cfg.n_images, cfg.seed)
    images, model, methods, notes, context, settled = make_ready(subject, sample, cfg, device)
    order = layers(model, images.images[:1].float() / 255)
    if not order:
        raise InputError(f"model {subject.name}: none of its layers has weights that can be drawn anew.")

    targets = choose_targets(model, images.images, images.labels, cfg.target, cfg.batch_size)
    maps = len(images) * len(methods) * (len(order) + 1)
    rundir.start()
    with tqdm(total=maps, desc="randomising", unit="map", delay=2, disable=None) as bar:
        measured = measure(model, images.images, targets, order, methods=methods, context=context, tick=bar.update)

    table = sanity_table(measured, cfg.bootstrap, cfg.seed)
    conditions = (
        f"{subject.words}, {len(images)} test images of {subject.data}, target: {cfg.target}, {settled}. "
        f"Weights are drawn anew as PyTorch draws a new layer's, from the last layer to the first; with "
        f"them, batch statistics go back to mean 0 and variance 1."
    )
    kept = left_as_they_are(model)
    remarks = [f"Left as trained: {', '.join(f'`{weight}`' for weight in kept)}."] if kept else []
    page = summary_markdown(f"Sanity check: {subject.run_name}", conditions, table, [*remarks, *notes])
    rundir.write_text("sanity.csv", table.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("summary.md", page)
    rundir.write("sanity.png", png(sanity_figure(table, conditions.split(", target")[0])))
    rundir.finish(describe(device))
    print(page)
    return 0
