"""Boxes beside an image folder, as masks: by hand, through every resizing, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fa_repro.data import load_data
from fa_repro.data.boxes import box_masks
from fa_repro.errors import InputError


def folder(tmp_path, boxes, sizes=((4, 4), (4, 4)), image_size=None, header="split,class,file,x0,y0,x1,y1"):
    """Write test/a/0.png, test/b/1.png, ... of ``sizes`` (width, height) and boxes.csv; return the data's config."""
    for i, (width, height) in enumerate(sizes):
        place = tmp_path / "test" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), 50 * i, np.uint8)).save(place / f"{i}.png")
    (tmp_path / "boxes.csv").write_text("\n".join([header, *boxes]) + "\n")
    config = {"name": "image_folder", "root": str(tmp_path), "download": False, "mirror": True, "cache": str(tmp_path)}
    return config | {"n_train": None, "n_test": None, "seed": 0, "image_size": image_size}


def masks(config):
    return load_data(config, "test", truth=True).masks


def box(size, x0, y0, x1, y1):
    """Return the mask of pixels x0 ... x1 and y0 ... y1, the last ones included."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def test_pixels_of_a_box_by_hand(tmp_path):
    found = masks(folder(tmp_path, ["test,a,0.png,1,0,2,2", "test,b,1.png,3,3,3,3"]))
    assert found.dtype == torch.bool and found.shape == (2, 4, 4)
    assert found[0].int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert found[1].nonzero().tolist() == [[3, 3]]


def test_several_boxes_are_their_union(tmp_path):
    found = masks(folder(tmp_path, ["test,a,0.png,0,0,1,1", "test,a,0.png,1,1,3,1", "test,a,0.png,0,0,1,1"]))
    assert found[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert not found[1].any()  # no box: no truth


def test_boxes_of_another_split_class_or_file_are_not_this_images(tmp_path):
    lines = ["train,a,0.png,0,0,3,3", "test,b,0.png,0,0,3,3", "test,a,1.png,0,0,3,3", "val,a,0.png,0,0,3,3"]
    assert not masks(folder(tmp_path, lines)).any()


@pytest.mark.parametrize("name", ["None", "NA", "NULL"])
def test_a_class_may_be_called_by_a_word_for_nothing(tmp_path, name):
    config = folder(tmp_path, [f"test,{name},0.png,1,1,2,2"])
    (tmp_path / "test/a").rename(tmp_path / "test" / name)
    assert torch.equal(masks(config)[0], box(4, 1, 1, 2, 2)) and not masks(config)[1].any()


def test_a_box_beyond_the_image_ends_with_it(tmp_path):
    found = masks(folder(tmp_path, ["test,a,0.png,2,-3,9,9", "test,b,1.png,5,5,6,6"]))
    assert torch.equal(found[0], box(4, 2, 0, 3, 3)) and not found[1].any()


def test_boxes_are_scaled_with_their_images(tmp_path):
    # 4 to 8 pixels: pixel 1 becomes pixels 2 and 3; pixels 1 ... 2 become 2 ... 5.
    found = masks(folder(tmp_path, ["test,a,0.png,1,1,1,1", "test,b,1.png,1,0,2,3"], image_size=8))
    assert torch.equal(found[0], box(8, 2, 2, 3, 3))
    assert torch.equal(found[1], box(8, 2, 0, 5, 7))


def test_boxes_are_cropped_with_their_images(tmp_path):
    # 8 x 4 pixels to 4 x 4: the middle four columns stay, columns 2 ... 5. A box that is cut off leaves no truth.
    lines = ["test,a,0.png,0,0,3,1", "test,b,1.png,0,0,1,3"]
    found = masks(folder(tmp_path, lines, sizes=((8, 4), (8, 4)), image_size=4))
    assert torch.equal(found[0], box(4, 0, 0, 1, 1)) and not found[1].any()


@pytest.mark.parametrize(
    ("width", "height", "size", "edges"),
    [
        (12, 8, 4, (4, 2, 7, 5)),
        (8, 12, 4, (2, 4, 5, 7)),
        (10, 6, 3, (4, 2, 7, 5)),
        (6, 6, 12, (1, 2, 3, 4)),
        (9, 6, 12, (3, 2, 5, 4)),
    ],
)
def test_a_mask_lies_where_the_resized_image_shows_the_box(tmp_path, width, height, size, edges):
    """A white box on black, resized as the images are: the mask is true where it is white."""
    x0, y0, x1, y1 = edges
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y0 : y1 + 1, x0 : x1 + 1] = 255
    line = f"test,a,0.png,{x0},{y0},{x1},{y1}"
    config = folder(tmp_path, [line], sizes=((width, height), (width, height)), image_size=size)
    Image.fromarray(pixels).save(tmp_path / "test" / "a" / "0.png")
    data = load_data(config, "test", truth=True)
    shown, mask = data.images[0, 0].float(), data.masks[0]
    assert mask.any() and shown[mask].min() > shown[~mask].max()


def test_shares_win_over_pixels_and_may_name_files_by_their_stem(tmp_path):
    header = "split,wnid,stem,orig_w,orig_h,x0,y0,x1,y1,fx0,fy0,fx1,fy1"
    lines = ["test,a,0,400,400,0,0,399,399,0.25,0,0.75,0.5"]
    assert torch.equal(masks(folder(tmp_path, lines, header=header))[0], box(4, 1, 0, 2, 1))
    # The file's own size counts, not that of the original: 8 x 4 pixels, of which columns 2 ... 5 stay.
    wide = masks(folder(tmp_path, lines, sizes=((8, 4), (8, 4)), image_size=4, header=header))
    assert torch.equal(wide[0], box(4, 0, 0, 3, 1))


def test_a_limit_and_a_choice_keep_each_image_with_its_boxes(tmp_path):
    lines = [f"test,{'ab'[i % 2]},{i}.png,{i},0,{i},3" for i in range(4)]
    config = folder(tmp_path, lines, sizes=((4, 4),) * 4)
    whole, part = masks(config), load_data(config | {"n_test": 2}, "test", truth=True)
    assert torch.equal(part.masks, whole[part.rows]) and whole[:, 0].float().argmax(1).tolist() == [0, 2, 1, 3]


def test_boxes_are_read_where_the_truth_is_wanted_alone(tmp_path):
    config = folder(tmp_path, ["test,a,0.png,0,0,3,3"])
    assert load_data(config, "test").masks is None
    (tmp_path / "boxes.csv").write_text("no table")
    assert load_data(config, "test").masks is None
    (tmp_path / "boxes.csv").unlink()
    assert masks(config) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("split,class,file,x0,y0,x1\ntest,a,0.png,0,0,1\n", "no column y1"),
        ("split,class,x0,y0,x1,y1\ntest,a,0,0,1,1\n", "no column file"),
        ("split,file,x0,y0,x1,y1\ntest,0.png,0,0,1,1\n", "no column class"),
        ("split,class,file,x0,y0,x1,y1\ntest,a,0.png,0,0,1,1\ntest,a,0.png,0,0,one,1\n", "line 3"),
        ("split,class,file,x0,y0,x1,y1\ntest,a,0.png,2,0,1,1\n", "line 2"),
        ("split,class,file,x0,y0,x1,y1\ntest,a,0.png,0,0,,1\n", "line 2"),
        ("", "can't be read"),
        ("\x00\xff", "boxes.csv"),
    ],
)
def test_a_table_that_holds_no_boxes_is_refused_in_one_line(tmp_path, text, words):
    config = folder(tmp_path, [])
    (tmp_path / "boxes.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as refused:
        masks(config)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_many_boxes_are_drawn_in_parts(tmp_path):
    files = [(str(tmp_path / "test" / "a" / f"{i}.png"), 0) for i in range(2100)]
    lines = [f"test,a,{i}.png,{i % 4},0,{i % 4},0" for i in range(2100)]
    (tmp_path / "boxes.csv").write_text("\n".join(["split,class,file,x0,y0,x1,y1", *lines]))
    found = box_masks(tmp_path / "boxes.csv", Path(tmp_path / "test"), files, 4, resized=False)
    assert found.sum() == 2100 and found[:, 0].float().argmax(1).tolist() == [i % 4 for i in range(2100)]
