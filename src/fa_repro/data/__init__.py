"""Images in memory: loading, limiting, caching and augmenting."""

from fa_repro.data.image_set import ImageSet, stratified
from fa_repro.data.load import inputs_of, load_data

__all__ = ["ImageSet", "inputs_of", "load_data", "stratified"]
