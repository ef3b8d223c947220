"""Which images have a truth to hold maps against."""

from fa_repro.data import ImageSet, boxes
from fa_repro.errors import InputError


def with_truth(test: ImageSet, label: str, n: int, seed: int) -> ImageSet:
    """Choose ``n`` of the images whose truth is known, stratified; all if there are fewer.

    Args:
        test: all test images.
        label: what to call the data set.
        n: images wanted.
        seed: of the choice.

    Raises:
        InputError: there is none.

    """
    if test.masks is None:
        raise InputError(
            f"data set {label} has neither masks nor boxes, which pointing_game and energy need. Give measures=[grid], "
            f"or put {boxes.NAME} (split,class,file,x0,y0,x1,y1) into an image folder's data.root."
        )
    known = test.masks.flatten(1).any(1).nonzero()[:, 0]
    if len(known) == 0:
        raise InputError(
            f"{boxes.NAME}: none of its boxes is one of the {len(test)} test images of {label}. "
            f"Its split, class and file must be those of the folders."
        )
    return test.select(known).sample(n, seed)
