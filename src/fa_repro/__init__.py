"""fa-repro: reproduces the Feature-Align CNN (arXiv:2603.25798) and tests its claims."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]

# A wheel holds configs/ inside the package. Run from the source tree, it lies at the root.
_ROOT = Path(__file__).parents[2]
if (_ROOT / "configs" / "__init__.py").is_file():
    __path__.append(str(_ROOT))

if TYPE_CHECKING:
    from fa_repro.checkpoint import load_model


def __getattr__(name: str) -> Any:
    # Imported on first use: `fa-repro -h` must answer without waiting for torch.
    if name == "load_model":
        from fa_repro.checkpoint import load_model

        return load_model
    raise AttributeError(f"module 'fa_repro' has no attribute {name!r}")
