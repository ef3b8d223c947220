"""``fa-repro SUBCOMMAND [key=value ...]``: a small dispatcher in front of Hydra.

It answers what Hydra would answer wrongly (``--version``, a mistyped subcommand or key, ``--seed 3``), moves flags in
front of the overrides, and turns every refusal into one line and exit code 2. torch is imported by the commands alone.
"""

import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from fa_repro import __version__
from fa_repro.errors import InputError, did_you_mean, first_line

COMMANDS = {
    "train": "train one model; resumes; writes checkpoint, history and curves",
    "verify-gradcam": "are the class maps the Grad-CAM maps? identity, morphing, decomposition; exit 1 if not",
    "explain": "your own image files: the prediction, and each method's map of it",
    "benchmark-removal": "take away pixels in the order of each method's map and watch the prediction",
    "benchmark-sanity": "randomise the weights layer by layer; do the methods' maps change with them?",
    "benchmark-localization": "does each method's map lie where the object is? pointing game, energy, grid of images",
    "benchmark-speed": "images per second of training, explaining or removing pixels, against a limit or a peer",
    "report": "gather every run under results/ into REPORT.md: claim, evidence, verdict",
}
USAGE = "\n".join(
    [
        "usage: fa-repro SUBCOMMAND [key=value ...]",
        "",
        "Reproduces the Feature-Align CNN (arXiv:2603.25798) and tests its claims.",
        "",
        *(f"  {name:<22} {text}" for name, text in COMMANDS.items()),
        "",
        "  fa-repro SUBCOMMAND --help        its keys and choices",
        "  fa-repro SUBCOMMAND --cfg job     the composed config, nothing run",
        "  fa-repro SUBCOMMAND -m key=a,b    a run for each value",
        '  eval "$(fa-repro -sc install=bash)"   completion for this shell',
        "",
    ]
)
# Hydra's flags that take a value of their own.
_VALUED = {"--cfg", "-c", "--package", "-p", "--info", "-i", "--config-dir", "-cd"}
_FLAGS = _VALUED | {"--help", "-h", "--hydra-help", "--multirun", "-m", "--run", "-r", "--resolve"}
_REFUSED = {"--config-name", "-cn", "--config-path", "-cp"}
_RESUMING = ("train", "benchmark-removal")  # what a stopped run of the others has found is lost


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    words = sys.argv[1:]

    def terminate(*_: object) -> NoReturn:
        print(_stopped(words), file=sys.stderr)
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, terminate)
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # here, where a reader that has gone is no error
    except InputError as error:
        print(f"fa-repro: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(_stopped(words), file=sys.stderr)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        code = 141
    except Exception:  # by itself Python would leave with 1, which is an answer
        traceback.print_exc()
        code = 3
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One of torchrun's processes: at the interpreter's end one in six was aborted (SIGABRT); why is not known.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _stopped(words: list[str]) -> str:
    """Return what a signal that ends ``words`` is answered with: what the same words would do."""
    if words and words[0] not in _RESUMING:
        return "fa-repro: stopped; the same words start this run anew."
    without = "".join(f" without {word}" for word in words if word.startswith("overwrite="))
    return f"fa-repro: stopped; the same words{without} go on from here."


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if words[0] == "--version":
        print(f"fa-repro {__version__}")
        return 0
    if words[0] in ("-sc", "--shell-completion"):
        return _complete(words[1:])
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        raise InputError(f"{command!r} is no subcommand.{did_you_mean(command, COMMANDS)} (fa-repro -h lists them)")
    if "--version" in rest:
        print(f"fa-repro {__version__}")
        return 0
    flags, overrides = _sort(rest)
    if {"-m", "--multirun"} & set(flags) and {flag.partition("=")[0] for flag in flags} & {"-c", "--cfg"}:
        raise InputError("--cfg shows the config of one job: leave -m and the lists of values out.")
    return _run(command, flags, overrides)


def _sort(words: list[str]) -> tuple[list[str], list[str]]:
    """Split words into Hydra's flags, each with its value, and overrides; refuse what is neither."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(words)
    for word in rest:
        name = word.partition("=")[0]
        if name in _REFUSED:
            raise InputError(
                f"{name} is refused: every subcommand has its own config. Use --config-dir DIR for more files."
            )
        if word in _VALUED:
            value = next(rest, None)
            if value is None:
                raise InputError(f"{word} needs a value.")
            flags += [word, value]
        elif name in _FLAGS and word.startswith("-"):
            flags.append(word)
        elif re.match(r"--?[A-Za-z]", word):
            value = next(rest, None) if "=" not in word else word.partition("=")[2]
            key = name.lstrip("-").replace("-", "_")
            raise InputError(f"{name} is no flag; keys are written without dashes: {key}={value or 'VALUE'}")
        elif word.startswith(("+", "~")):
            raise InputError(f"{word}: no key can be added or taken away; every key of SUBCOMMAND --help is key=value.")
        elif "=" not in word:
            raise InputError(f"{word!r} is no key=value.")
        else:
            overrides.append(word)
    return flags, overrides


def _run(command: str, flags: list[str], overrides: list[str]) -> int:
    """Hand the words to Hydra, which composes the config and calls the command's handler for each job."""
    import hydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import DictConfig

    from fa_repro import config

    config.register()
    name = command.replace("-", "_")
    codes: list[int] = []

    swept: set[str] = set()

    def job(cfg: DictConfig) -> None:
        code = _job(command, cfg, swept)
        codes.append(code)
        if code and not _at_home():  # elsewhere `codes` is a copy, and the launcher carries exceptions home
            if code == 1:
                raise AnswerIsNo
            raise InputError(f"a job of the sweep ended with exit code {code}; its log says why.")

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and one line of ours says what is wrong
    sys.argv = [f"fa-repro {command}", *flags, *overrides]
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
        swept |= {str(override.key_or_group) for override in parsed if override.is_sweep_override()}
        hydra.main(version_base="1.3", config_path="pkg://fa_repro.configs", config_name=name)(job)()
    except AnswerIsNo:
        return 1
    except Exception as error:
        refusal = _refusal(error, command, config.known_keys(config.SCHEMAS[name]))
        if refusal is None:
            raise
        raise InputError(refusal) from None
    if len(codes) > 1:
        print("\n".join(f"job {i}: {'done' if code == 0 else f'exit {code}'}" for i, code in enumerate(codes)))
    return max(codes, default=0)


class AnswerIsNo(Exception):
    """What a job that answers "no" (exit code 1) in another process has its launcher carry home."""


def _at_home() -> bool:
    """Whether this job runs in the process that was called, and not where a launcher such as submitit sent it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    return hydra.mode == RunMode.RUN or hydra.runtime.choices["hydra/launcher"] == "basic"


def _job(command: str, cfg: Any, swept: set[str]) -> int:
    """Run one job and return its exit code; in a sweep, a bad config costs its own job and no other."""
    from importlib import import_module

    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from fa_repro import bounds

    try:
        try:
            missing = sorted(OmegaConf.missing_keys(cfg))
            if missing:
                raise InputError(f"{missing[0]} is missing: give {missing[0]}=VALUE.")
            OmegaConf.resolve(cfg)
        except OmegaConfBaseException as error:
            raise InputError(str(error).splitlines()[0]) from None
        bounds.check(cfg)
        listed = HydraConfig.get().sweeper.get("params") or {}  # an experiment may hold a sweep of its own
        sweeps = HydraConfig.get().mode == RunMode.MULTIRUN
        if listed and not sweeps:
            raise InputError(f"this experiment is a sweep over {', '.join(listed)}: run it with {command} -m.")
        if sweeps and "data" in cfg and cfg.name is None:
            cfg.name = _sweep_name(cfg, swept | set(listed), list(HydraConfig.get().overrides.task))
        handler = import_module(f"fa_repro.commands.{command.replace('-', '_')}")
        return int(handler.run(cfg))
    except InputError as error:
        print(f"fa-repro: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        print(f"fa-repro: out of memory ({first_line(error)}).{_more_memory(command, cfg)}", file=sys.stderr)
        return 2


def _more_memory(command: str, cfg: Any) -> str:
    """Return what to do where memory is gone: the key that decides how much a command takes, and what else it needs."""
    from fa_repro.rundir import not_identity

    what = cfg.what if command == "benchmark-speed" else None
    if command == "train" or what == "training":
        key = "trainer.batch_size"
    # These take all their images at once.
    elif command == "verify-gradcam":
        key = "n_images"
    elif "batch_size" in cfg:
        key = "batch_size"
    else:
        return ""
    if key in not_identity(command):
        return f" Give a smaller {key}=."
    # The run has begun under its name, and would refuse another config.
    return f" Give a smaller {key}= and, as that is another run, name=OTHER or overwrite=true."


def _out_of_memory(error: Exception) -> bool:
    """Whether an error of torch's or Python's says that memory is gone, on the device or beside it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # Of torch's allocator on the CPU, of CUDA where another process has the memory, of cuBLAS and cuDNN.
    return any(words in str(error) for words in ("can't allocate memory", "out of memory", "ALLOC_FAILED"))


def _sweep_name(cfg: Any, swept: set[str], overrides: list[str]) -> str | None:
    """Name a sweep's job after what was swept, or two jobs would meet in one run directory."""
    from fa_repro.rundir import default_name

    checkpoint = cfg.get("checkpoint")
    # The default name has these; of a checkpoint's run it has the training's seed.
    told = {"data", "model"} if checkpoint else {"data", "model", "seed"}
    if not swept & {word.partition("=")[0] for word in overrides} - told:
        return None
    # Behind a checkpoint's name the data are told, too: it has those of the training alone.
    words = [word for word in overrides if word.partition("=")[0] in swept - (set() if checkpoint else told)]
    if checkpoint is None:
        words = [default_name(cfg), *words]
    elif "checkpoint" not in swept:
        paths = [checkpoint] if isinstance(checkpoint, str) else checkpoint
        words = [*(Path(path).parent.name for path in paths), *words]
    return re.sub(r"[^\w.+-]+", "_", "-".join(words))


def _refusal(error: Exception, command: str, keys: set[str]) -> str | None:
    """Return one line for an error of Hydra's or OmegaConf's about the user's words; None for a bug of ours."""
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, YAMLError):
        return f"a config file can't be read: {' '.join(str(error).split())}"
    if isinstance(error, RuntimeError) and "slurm" in str(error):  # submitit's, where no cluster is
        return f"hydra/launcher: {str(error).splitlines()[0]} hydra/launcher=submitit_local needs none."
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: can't be read as key=value ({str(error).splitlines()[0]}). Put a value with signs of "
            f"its own into quotes: 'key=\"value\"'."
        )
    text = f"{error}\n{error.__cause__ or ''}"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        if "Value '" in text or "is not a valid" in text or "ValidationError" in text:
            return _wrong_value(key, text)
        if key in keys:
            return f"{key} is no key of the {key.partition('.')[0]} that was chosen.{_whose(key, command)}"
        return f"{key} is no key of {command}.{did_you_mean(key.lstrip('+~').split('@')[0], keys)}"
    if found := re.search(r"Could not find '([^']+)'", text):
        group, _, option = found[1].rpartition("/")
        options = re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)
        return f"{group}={option}: no such choice.{did_you_mean(option, options)} Choices: {', '.join(options)}."
    if "hydra/launcher/submitit" in text:
        return "hydra/launcher: submitit is not installed. Run pip install 'fa-repro[cluster]'."
    if found := re.search(r"full_key: (\S+)", text):
        return _wrong_value(found[1], text)
    return " ".join(text.split("Set the environment")[0].split())


def _whose(key: str, command: str) -> str:
    """Return which model to choose for a key that the chosen one has not; none that the command would refuse."""
    from fa_repro.config import models_with

    only_ours = command in ("train", "verify-gradcam")
    models = [name for name in models_with(key) if not (only_ours and name in ("torchvision", "factory"))]
    return f" Give {' or '.join(f'model={name}' for name in models)}, too." if models else ""


def _wrong_value(key: str, text: str) -> str:
    first = next(line for line in (*re.findall(r"Value .*|.*could not be converted.*|.*Invalid.*", text), text.strip()))
    return f"{key}: {first.splitlines()[0].strip()}."


def _complete(words: list[str]) -> int:
    """Install or answer shell completion: the first word completes to a subcommand, the rest is Hydra's."""
    line = os.environ.get("COMP_LINE", "")
    before = line.split()
    if any(word.startswith("query=") for word in words):
        if len(before) < 2 or (len(before) == 2 and not line.endswith(" ")):
            stem = before[1] if len(before) > 1 else ""
            print(" ".join(name for name in COMMANDS if name.startswith(stem)))
            return 0
        if before[1] not in COMMANDS:
            return 0
        # Hydra completes `fa-repro key=...`: take the subcommand out of the line it looks at.
        os.environ["COMP_LINE"] = re.sub(rf"^(\S+\s+){re.escape(before[1])}\s+", r"\1", line, count=1)
        os.environ["COMP_POINT"] = str(len(os.environ["COMP_LINE"]))
    import hydra

    from fa_repro import config

    config.register()
    command = before[1] if len(before) > 1 and before[1] in COMMANDS else "train"
    sys.argv = ["fa-repro", "-sc", *words]
    name = command.replace("-", "_")
    hydra.main(version_base="1.3", config_path="pkg://fa_repro.configs", config_name=name)(lambda _: None)()
    return 0
