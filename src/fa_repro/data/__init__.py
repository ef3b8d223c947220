"""Images in memory: loading, limiting, caching and augmenting."""

from fa_repro.data.image_set import ImageSet, held_out, stratified
from fa_repro.data.load import inputs_of, load_data

__all__ = ["ImageSet", "held_out", "inputs_of", "load_data", "stratified"]
