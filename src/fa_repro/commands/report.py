"""``fa-repro report``: gather every run under a results folder into REPORT.md."""

import os
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from fa_repro.errors import InputError
from fa_repro.files import replacing
from fa_repro.plotting import png
from fa_repro.reporting.again import again_table, is_again
from fa_repro.reporting.collect import groups
from fa_repro.reporting.front import draw as draw_front
from fa_repro.reporting.front import front
from fa_repro.reporting.page import marks, readme_parts, replace_part, report
from fa_repro.reporting.search import FOLDER, draw, is_search, searched


def run(cfg: DictConfig) -> int:
    """Report as ``cfg`` (``configs/report.yaml``) says; return the exit code.

    Raises:
        InputError: a run's files or the README can't be read, or the folder can't be written.

    """
    results = Path(cfg.results)
    if not results.is_dir():
        raise InputError(f"results={results}: {'is no folder' if results.exists() else 'no such folder'}.")
    try:
        _write(cfg, results)
    except OSError as error:
        raise InputError(f"results={results}: {error.strerror or error} ({error.filename}).") from None
    return 0


def _write(cfg: DictConfig, results: Path) -> None:
    found = groups(results)
    n_runs = sum(len(runs) for group in found for runs in group.runs.values())
    searches = searched(results, found)
    found = [group for group in found if not is_search(group)]
    twice = again_table(found)
    found = [group for group in found if not is_again(group)]
    points = front(found)
    pages = {results / "REPORT.md": report(found, results, searches, points, twice)}
    pictures = {}
    if len(points):
        pages[results / "front.csv"] = points.to_csv(index=False, float_format="%.6g")
        pictures[results / "front.png"] = draw_front(points)
    for name, table in searches.items():
        pages[results / FOLDER / f"{name}.csv"] = table.to_csv(index=False)
        pictures[results / FOLDER / f"{name}.png"] = draw(table)
    if cfg.readme is not None:
        readme = Path(cfg.readme)
        picture = Path(os.path.relpath(results / "front.png", readme.parent)).as_posix() if len(points) else None
        pages[readme] = _filled(readme, readme_parts(found, picture, twice))
    for path, fig in pictures.items():
        with replacing(path) as temporary, temporary.open("wb") as file:
            png(fig)(file)
    for path, text in pages.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"{path}: written.")
    print(f"{results}: {n_runs} runs read.")


def _filled(readme: Path, parts: Mapping[str, str]) -> str:
    """Return the text of ``readme`` with its ``parts`` between their marks."""
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"readme={readme}: can't be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"readme={readme}: is no text in UTF-8.") from None
    for name, part in parts.items():
        replaced = replace_part(text, name, part)
        if replaced is None:
            raise InputError(f"readme={readme}: has no part between {' and '.join(marks(name))}.")
        text = replaced
    return text
