"""captum (Kokhlikyan et al. 2020, arXiv:2009.07896), an optional extra: where its methods are fetched from."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from fa_repro.errors import InputError

BY_CAPTUM = ("integrated_gradients", "saliency", "shapley")


def check_captum(methods: Iterable[str]) -> None:
    """Refuse methods whose library is not installed.

    Raises:
        InputError: names the first of ``methods`` that needs captum, and how to install it.

    """
    needed = [method for method in methods if method in BY_CAPTUM]
    if needed and not find_spec("captum"):
        raise InputError(f"methods: {needed[0]} needs captum, which is not installed: pip install 'fa-repro[captum]'.")


def captum_class(name: str, method: str) -> Any:
    """Return captum's attribution class ``name`` for our ``method``.

    Raises:
        InputError: captum is not installed.

    """
    check_captum([method])
    import captum.attr  # here, as it takes a second and most runs don't need it

    return getattr(captum.attr, name)
