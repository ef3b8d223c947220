"""What ``fa-repro train`` refuses, in one line and leaving nothing."""

import pytest

from refusals import one_line
from samples import picture


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("trainer.batch_size=181",), "trainer.batch_size=181: more than the 180 training images"),
        (("trainer.val_fraction=0.999",), "more than the 0 training images"),
        (("trainer.augment.crop=40",), "trainer.augment.crop=40: must be less than the images' 32 pixels"),
        (("trainer.augment.cutout=32",), "trainer.augment.cutout=32: must be less than the images' 32 pixels"),
        (("data.n_train=200", "data=image_folder", "data.root=missing"), "data.root=missing: no such folder"),
        (("data=cifar10", "data.root=missing"), "data=cifar10 can't be read"),
        (("data.image_size=30",), "30"),
        (("model.hidden=[4]",), "model.hidden"),
        (("model.unshuffle=3",), "3"),
        (("name=a/b",), "name=a/b"),
        (("name=..",), "name=.."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_trained_is_refused_in_one_line_and_leaves_nothing(cli, tiny, workplace, words, named):
    kept = [word for word in tiny if not (any("data=" in w for w in words) and word.startswith("data.n_"))]
    assert named in one_line(cli("train", *kept, *words))
    assert not (workplace / "results").exists()


@pytest.mark.parametrize(
    ("seen", "asked", "named"),
    [
        ((8, 8, 3), (16, 16, 3), "8x8 pixels in 3 channels, the test images 16x16 pixels in 3"),
        ((8, 8), (8, 8, 3), "8x8 pixels in 1 channel, the test images 8x8 pixels in 3 channels"),
        ((8, 8, 3), (8, 8), "8x8 pixels in 3 channels, the test images 8x8 pixels in 1 channel"),
        ((8, 8, 3), (8, 8, 3), ""),
    ],
)
def test_images_to_test_on_are_of_the_training_images_shape(cli, workplace, tree, seen, asked, named):
    write, root = tree
    for split, shape in (("train", seen), ("test", asked)):
        for i in range(4):
            write(f"{split}/{'ab'[i % 2]}/{i}.png", picture(i, *shape))
    model = ("model=resnet_small", "model.widths=[4]", "model.blocks=[1]")
    recipe = ("trainer.epochs=1", "trainer.batch_size=2", "trainer.val_fraction=0", "trainer.augment.crop=1")
    answer = cli("train", "data=image_folder", f"data.root={root}", f"data.cache={root}", *model, *recipe)
    if named:
        assert named in one_line(answer)
        assert not (workplace / "results").exists()
    else:
        assert answer.code == 0, answer.err


@pytest.mark.usefixtures("undrawn_curves")
def test_corrected_words_run_after_a_refusal(cli, tiny, workplace):
    one_line(cli("train", *tiny, "trainer.batch_size=181"))
    answer = cli("train", *tiny, "trainer.batch_size=180")
    assert answer.code == 0, answer.err


def test_a_file_in_the_place_of_the_results_is_refused(cli, tiny, workplace):
    (workplace / "results").write_text("mine")
    assert "results" in one_line(cli("train", *tiny))
    assert (workplace / "results").read_text() == "mine"


def test_a_diverging_training_is_refused_in_one_line(cli, tiny, workplace):
    words = ("trainer.optimizer=sgd", "trainer.lr=1e38", "trainer.schedule=constant", "model=fa_cnn_linear_head")
    answer = cli("train", *tiny, *words)
    assert answer.code == 2
    assert "diverged in epoch" in answer.err.splitlines()[-1] and "Traceback" not in answer.err
