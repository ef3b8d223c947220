"""Tables, figures, warnings and the page of a removal benchmark, by hand on fabricated readings."""

import numpy as np
import pandas as pd
import pytest

from fa_repro.removal import Measured
from fa_repro.removal.summary import summary_markdown, unread_notes
from fa_repro.removal.tables import curves_table, difference_table, shift_table, summary_table
from fa_repro.removal.warnings import warnings, warnings_by_imputation
from fa_repro.statistics import Bootstrap

METHODS = ("feature_map", "occlusion", "random")
# Of two images, at 0, 50 and 100 % removed; areas by hand beside them.
PROBABILITY = np.array(
    [
        [[[1.0, 0.8], [0.2, 0.4], [0.0, 0.2]], [[1.0, 0.8], [0.9, 0.8], [0.0, 0.2]]],  # 0.35 0.45; 0.70 0.65
        [[[1.0, 0.8], [0.4, 0.2], [0.0, 0.2]], [[1.0, 0.8], [0.6, 0.8], [0.0, 0.2]]],  # 0.45 0.35; 0.55 0.65
        [[[1.0, 0.8], [0.5, 0.5], [0.0, 0.2]], [[1.0, 0.8], [0.5, 0.5], [0.0, 0.2]]],  # 0.50 0.50; 0.50 0.50
    ]
)
PREDICTION = np.array(
    [
        [[[0, 1], [1, 1], [1, 0]], [[0, 1], [0, 1], [1, 2]]],  # kept: 100 and 110; 110 and 110
        [[[0, 1], [0, 0], [0, 0]], [[0, 1], [0, 1], [0, 1]]],  # kept: 111 and 100; 111 and 111
        [[[0, 1], [2, 2], [0, 1]], [[0, 1], [2, 2], [0, 1]]],  # kept: 101 and 101
    ]
)


def _measured(**changed):
    fields = {
        "imputation": "mean",
        "methods": METHODS,
        "orders": ("morf", "lerf"),
        "fractions": np.array([0.0, 0.5, 1.0]),
        "targets": np.array([0, 1]),
        "labels": np.array([0, 2]),
        "probability": PROBABILITY,
        "logit": PROBABILITY,
        "prediction": PREDICTION,
        "degenerate": np.zeros((3, 2), bool),
        "seconds": np.array([0.5, 2.0, 0.0]),
    }
    return Measured(**(fields | changed))


@pytest.fixture
def bootstrap():
    return Bootstrap(2, 200, 0)


# Tables


def _lines(table, column):
    keys = [key for key in ("method", "order") if key in table]
    return {tuple(line[key] for key in keys): line[column] for _, line in table.iterrows()}


def test_curves_table_by_hand(bootstrap):
    table = curves_table(_measured(), bootstrap)
    names = ("target_probability", "kept", "accuracy")
    figures = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    assert list(table.columns) == ["method", "order", "imputation", "fraction", *figures, "n"]
    assert len(table) == 3 * 2 * 3 and set(table.imputation) == {"mean"} and set(table.n) == {2}
    part = table[(table.method == "feature_map") & (table.order == "morf")]
    assert part.fraction.tolist() == [0, 0.5, 1]
    assert part.target_probability.tolist() == pytest.approx([0.9, 0.3, 0.1], abs=1e-12)
    assert part.target_probability_low.tolist() == pytest.approx([0.8, 0.2, 0.0], abs=1e-12)
    assert part.target_probability_high.tolist() == pytest.approx([1.0, 0.4, 0.2], abs=1e-12)
    assert part.kept.tolist() == [1, 0.5, 0]
    assert part.kept_low.tolist() == [1, 0, 0] and part.kept_high.tolist() == [1, 1, 0]
    assert part.accuracy.tolist() == [0.5, 0, 0]
    assert part.accuracy_low.tolist() == [0, 0, 0] and part.accuracy_high.tolist() == [1, 0, 0]
    other = table[(table.method == "feature_map") & (table.order == "lerf")]
    assert other.target_probability.tolist() == pytest.approx([0.9, 0.85, 0.1], abs=1e-12)
    assert other.kept.tolist() == [1, 1, 0] and other.accuracy.tolist() == [0.5, 0.5, 0.5]


def test_summary_table_by_hand(bootstrap):
    degenerate = np.array([[False, True], [False, False], [True, True]])
    table = summary_table(_measured(imputation="blur", degenerate=degenerate), bootstrap)
    assert set(table.imputation) == {"blur"} and set(table.n) == {2}
    morf, lerf = "morf", "lerf"
    expected = {
        "auc_probability": [0.4, 0.675, 0.4, 0.6, 0.5, 0.5],
        "auc_minus_reference": [0, 0, 0, -0.075, 0.1, -0.175],
        "auc_kept": [0.5, 0.75, 0.625, 1.0, 0.5, 0.5],
        "flip_percent_mean": [75, 100, 75, 100, 50, 50],
        "flip_percent_median": [75, 100, 75, 100, 50, 50],
        "degenerate_maps": [1, 1, 0, 0, 2, 2],
        "seconds": [0.5, 0.5, 2, 2, 0, 0],
    }
    keys = [(method, order) for method in METHODS for order in (morf, lerf)]
    for column, values in expected.items():
        assert _lines(table, column) == pytest.approx(dict(zip(keys, values, strict=True)), abs=1e-12), column
    won = _lines(table, "auc_won")  # the smaller area under MoRF, the larger under LeRF; equal is half won
    assert np.isnan(won["feature_map", morf]) and np.isnan(won["feature_map", lerf])
    assert [won[key] for key in keys[2:]] == [0.5, 0.25, 0, 0]
    low, high = _lines(table, "auc_minus_reference_low"), _lines(table, "auc_minus_reference_high")
    assert (low["occlusion", morf], high["occlusion", morf]) == pytest.approx((-0.1, 0.1), abs=1e-12)
    low, high = _lines(table, "auc_probability_low"), _lines(table, "auc_probability_high")
    assert (low["feature_map", morf], high["feature_map", morf]) == pytest.approx((0.35, 0.45), abs=1e-12)
    assert (low["random", lerf], high["random", lerf]) == pytest.approx((0.5, 0.5), abs=1e-12)


def test_difference_table_by_hand(bootstrap):
    table = difference_table(_measured(), bootstrap)
    assert table.method.tolist() == ["feature_map", "occlusion", "random"]  # from the largest down
    assert table.lerf_minus_morf.tolist() == pytest.approx([0.275, 0.2, 0.0], abs=1e-12)
    assert table.lerf_minus_morf_low.tolist() == pytest.approx([0.2, 0.1, 0.0], abs=1e-12)
    assert table.lerf_minus_morf_high.tolist() == pytest.approx([0.35, 0.3, 0.0], abs=1e-12)
    assert set(table.reference) == {"feature_map"} and set(table.n) == {2}
    assert table.minus_reference.tolist() == pytest.approx([0, -0.075, -0.275], abs=1e-12)
    assert table.minus_reference_low.tolist() == pytest.approx([0, -0.25, -0.35], abs=1e-12)
    assert table.minus_reference_high.tolist() == pytest.approx([0, 0.1, -0.2], abs=1e-12)
    assert list(table.columns[:2]) == ["method", "imputation"] and set(table.imputation) == {"mean"}
    assert table.won.tolist()[1:] == [0.5, 0.0] and np.isnan(table.won[0])
    assert table.won_low.tolist()[1:] == [0, 0] and table.won_high.tolist()[1:] == [1, 0]
    assert table.minus_random.tolist() == pytest.approx([0.275, 0.2, 0], abs=1e-12)
    assert table.minus_random_low.tolist() == pytest.approx([0.2, 0.1, 0], abs=1e-12)
    assert table.share_of_occlusion.tolist() == pytest.approx([1.375, 1.0, 0.0], abs=1e-12)
    assert table.control.tolist() == [False, False, True]


def test_a_map_that_orders_alike_wins_half(bootstrap):
    same = PROBABILITY.copy()
    same[1] = same[0] + 1e-9  # the same curves, but for rounding
    table = difference_table(_measured(probability=same), bootstrap).set_index("method")
    assert table.won["occlusion"] == table.won_low["occlusion"] == table.won_high["occlusion"] == 0.5
    assert table.won["random"] == 0


def test_difference_table_does_not_care_which_order_comes_first(bootstrap):
    turned = _measured(orders=("lerf", "morf"), probability=PROBABILITY[:, ::-1], prediction=PREDICTION[:, ::-1])
    one, two = (difference_table(m, bootstrap) for m in (_measured(), turned))
    assert one.equals(two)
    swapped = _measured(orders=("lerf", "morf"))  # names without their readings: every sign turns
    assert difference_table(swapped, bootstrap).lerf_minus_morf.max() == 0


def test_without_feature_map_the_first_method_is_the_reference(bootstrap):
    part = {name: getattr(_measured(), name)[1:] for name in ("probability", "prediction", "degenerate", "seconds")}
    table = difference_table(_measured(methods=("grad_cam", "random"), **part), bootstrap)
    assert set(table.reference) == {"grad_cam"}
    assert "share_of_occlusion" not in table


def test_no_difference_table_without_both_orders(bootstrap):
    for o, order in enumerate(("morf", "lerf")):
        part = _measured(orders=(order,), probability=PROBABILITY[:, o : o + 1], prediction=PREDICTION[:, o : o + 1])
        assert difference_table(part, bootstrap) is None
        summary = summary_table(part, bootstrap)
        assert summary.auc_minus_reference.tolist()[1:] == pytest.approx([[0, 0.1], [-0.075, -0.175]][o], abs=1e-12)
        assert len(summary) == 3 and not any("LeRF - MoRF, beyond" in line for line in warnings(summary, None))


def test_what_removal_at_random_costs_by_hand():
    """Of four images three are right when intact; at 50 % one is in one order, none in the other."""
    labels = np.array([0, 0, 0, 1])
    morf = [[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0]]
    lerf = [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    prediction = np.array([[morf, lerf]])
    fields = {"methods": ("random",), "targets": labels, "labels": labels, "prediction": prediction}
    fields |= {"probability": np.ones((1, 2, 3, 4)), "degenerate": np.zeros((1, 4), bool), "seconds": np.zeros(1)}
    bootstrap = Bootstrap(4, 500, 0)
    table = shift_table(_measured(**fields), bootstrap)
    assert table.fraction.tolist() == [0, 0.5]  # every wanted fraction is nearest to the one that was measured
    assert table.accuracy.tolist() == [0.75, 0.125] and table.lost.tolist() == [0, 0.625]
    assert table.lost_low[1] > 0
    page = summary_markdown("T", "c", summary_table(_measured(**fields), bootstrap), None, table, [])
    assert "### What removal alone costs" in page and "| 50 | 12.5 [" in page and "| 62.5 [" in page
    unharmed = _measured(**(fields | {"prediction": np.zeros((1, 2, 3, 4), int)}))
    calm = shift_table(unharmed, bootstrap)
    assert calm.lost.tolist() == [0, 0]
    page = summary_markdown("T", "c", summary_table(unharmed, bootstrap), None, calm, [])
    assert "costs this network no accuracy beyond the interval" in page and "| 50 | 75.0 [" in page
    assert shift_table(_measured(**(fields | {"methods": ("center",)})), bootstrap) is None
    assert "removal alone" not in summary_markdown("T", "c", summary_table(unharmed, bootstrap), None, None, [])


# Figures


def test_the_figure_draws_every_curve_of_the_table(bootstrap):
    from fa_repro.removal.figures import curves_figure

    table = curves_table(_measured(), bootstrap)
    fig = curves_figure(table, "a title")
    assert [panel.get_title()[:4] for panel in fig.axes] == ["MoRF", "LeRF"]
    for panel, order in zip(fig.axes, ("morf", "lerf"), strict=True):
        assert [line.get_label() for line in panel.lines] == list(METHODS)
        for line in panel.lines:
            part = table[(table.method == line.get_label()) & (table.order == order)]
            assert line.get_xdata().tolist() == [0, 50, 100]
            assert line.get_ydata().tolist() == part.target_probability.tolist()


def test_the_figure_has_a_row_of_panels_for_each_imputation(bootstrap):
    from fa_repro.removal.figures import curves_figure

    other = _measured(imputation="blur", probability=PROBABILITY / 2)
    table = pd.concat([curves_table(_measured(), bootstrap), curves_table(other, bootstrap)])
    fig = curves_figure(table, "a title")
    assert len(fig.axes) == 4
    for panel, (imputation, order) in zip(
        fig.axes, [(i, o) for i in ("mean", "blur") for o in ("morf", "lerf")], strict=True
    ):
        assert (imputation in panel.get_ylabel()) == (order == "morf")
        for line in panel.lines:
            part = table[(table.method == line.get_label()) & (table.order == order)]
            part = part[part.imputation == imputation]
            assert line.get_ydata().tolist() == part.target_probability.tolist()


# Warnings


@pytest.fixture
def clean():
    """Readings in which the control is behind in every column: MoRF doesn't flip it, LeRF does at once."""
    prediction = PREDICTION.copy()
    prediction[2] = [[[0, 1], [0, 1], [0, 1]], [[0, 1], [2, 2], [2, 2]]]
    return {"prediction": prediction}


def _warnings(measured, bootstrap):
    return warnings(summary_table(measured, bootstrap), difference_table(measured, bootstrap))


def test_a_clean_table_warns_of_nothing(bootstrap, clean):
    assert _warnings(_measured(**clean), bootstrap) == []


def test_a_control_with_the_lower_morf_area_is_named_with_what_it_beats(bootstrap, clean):
    probability = PROBABILITY.copy()
    probability[2, 0, 1] = 0.27  # random, MoRF: area 0.385; LeRF as low, so that its difference stays nothing
    probability[2, 1, 1] = 0.27
    probability[0, 0, 1] -= 0.1  # feature_map, MoRF: area 0.35
    found = _warnings(_measured(probability=probability, **clean), bootstrap)
    assert len(found) == 1
    assert "MoRF alone does not rank" in found[0]
    assert "`random`" in found[0] and "(0.385)" in found[0] and "`occlusion` (0.400)" in found[0]
    assert "feature_map" not in found[0]


def test_a_control_that_is_not_beaten_in_the_paired_difference_is_named(bootstrap, clean):
    probability = PROBABILITY.copy()
    probability[2, 1, 1] = [0.8, 0.5]  # random, by image: LeRF - MoRF 0.15 and 0; occlusion's 0.1 and 0.3
    found = _warnings(_measured(probability=probability, **clean), bootstrap)
    assert found == [
        "The control `random` is not beaten in LeRF - MoRF, beyond the interval of the paired difference, by "
        "`occlusion`."
    ]


@pytest.mark.parametrize(
    ("order", "column", "value", "words"),
    [
        ("morf", "auc_kept", 0.55, "MoRF area of images kept (`occlusion`)"),
        ("lerf", "auc_kept", 0.9, "LeRF area of images kept (`feature_map`)"),
        ("morf", "flip_percent_mean", 50, "MoRF flip, mean (`feature_map`, `occlusion`)"),
        ("lerf", "flip_percent_mean", 101, "LeRF flip, mean (`feature_map`, `occlusion`)"),
        ("morf", "flip_percent_median", 50, "MoRF flip, median (`feature_map`, `occlusion`)"),
        ("lerf", "flip_percent_median", 101, "LeRF flip, median (`feature_map`, `occlusion`)"),
        ("lerf", "auc_probability", 0.65, "LeRF area (`occlusion`)"),
    ],
)
def test_a_control_that_is_ahead_in_a_column_is_named_with_the_column(bootstrap, clean, order, column, value, words):
    measured = _measured(**clean)
    summary, differences = summary_table(measured, bootstrap), difference_table(measured, bootstrap)
    summary.loc[(summary.method == "random") & (summary.order == order), column] = value
    assert warnings(summary, differences) == [f"The control `random` is ahead in other columns too: {words}."]


def test_a_control_that_wins_more_than_half_of_the_images_is_named(bootstrap, clean):
    measured = _measured(**clean)
    summary, differences = summary_table(measured, bootstrap), difference_table(measured, bootstrap)
    differences.loc[differences.method == "random", "won"] = 0.5
    assert warnings(summary, differences) == []
    differences.loc[differences.method == "random", "won"] = 0.75
    assert warnings(summary, differences) == [
        "The control `random` has a larger LeRF - MoRF area than `feature_map` on 75 % of the images."
    ]


def test_readings_that_are_no_numbers_are_told_and_nobody_wins_by_them(bootstrap):
    assert unread_notes([[_measured()]]) == []
    probability = PROBABILITY.copy()
    probability[0, 0, 1, 1] = np.nan
    broken = _measured(probability=probability)
    (note,) = unread_notes([[_measured()], [broken]])
    assert "removed pixels mean" in note and "1 of 4 images" in note
    table = difference_table(broken, bootstrap).set_index("method")
    assert np.isnan(table.won["occlusion"]) and np.isnan(table.minus_reference["occlusion"])
    assert table.minus_random["occlusion"] == pytest.approx(0.2, abs=1e-12)  # the others' figures stand


def test_degenerate_maps_are_named_once_for_each_method(bootstrap, clean):
    measured = _measured(degenerate=np.array([[False, False], [False, True], [False, False]]), **clean)
    found = _warnings(measured, bootstrap)
    assert len(found) == 1
    assert "`occlusion`: 1 of 2 maps are degenerate" in found[0]


# The page


def test_the_page_shows_conditions_notes_and_both_tables(bootstrap):
    measured = _measured(degenerate=np.array([[True, False], [False, False], [False, False]]))
    summary, differences = summary_table(measured, bootstrap), difference_table(measured, bootstrap)
    page = summary_markdown("Title", "the conditions", summary, differences, None, ["`depth_map` is left out."])
    assert page.startswith("# Title\n\nthe conditions\n\n- ") and "## Removed pixels: mean" in page
    assert "`feature_map`: 1 of 2 maps are degenerate" in page and "- `depth_map` is left out." in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 3 + 6
    assert rows[0][:2] == ["| `feature_map`", "0.275 [0.200, 0.350]"] and rows[0][2:4] == ["–", "–"]
    assert rows[1][2:4] == ["-0.075 [-0.250, 0.100]", "0.50 [0.00, 1.00]"]
    assert rows[1][4].startswith("1.00 [1.00, 1.00]")
    assert rows[2][0] == "| `random` (control)"
    assert rows[3][:6] == ["| `feature_map`", "morf", "0.400 [0.350, 0.450]", "–", "–", "0.500 [0.250, 0.750]"]
    assert rows[5][3:5] == ["0.000 [-0.100, 0.100]", "0.50 [0.00, 1.00]"]
    assert {len(row) for row in rows[:3]} == {5} and {len(row) for row in rows[3:]} == {10}


def test_the_page_of_one_order_has_one_table(bootstrap):
    part = _measured(orders=("morf",), probability=PROBABILITY[:, :1], prediction=PREDICTION[:, :1])
    page = summary_markdown("T", "c", summary_table(part, bootstrap), None, None, [])
    assert page.count("\n| --- |") == 1 and page.count("\n| `") == 3
    assert "LeRF − MoRF" not in page and "degenerate (" not in page


def test_the_page_has_a_section_for_each_imputation_in_their_order(bootstrap):
    lower = PROBABILITY.copy()
    lower[2, :, 1] = 0.1  # under the second imputation the random control has the lowest MoRF area
    measured = [_measured(), _measured(imputation="noisy_linear", probability=lower)]
    summary, differences = (pd.concat([f(m, bootstrap) for m in measured]) for f in (summary_table, difference_table))
    told = warnings_by_imputation(summary, differences)
    assert (
        told == {one.imputation: _warnings(one, bootstrap) for one in measured} and told["mean"] != told["noisy_linear"]
    )
    page = summary_markdown("T", "c", summary, differences, None, [])
    _, first, second = page.split("## Removed pixels: ")
    assert first.startswith("mean\n") and second.startswith("noisy_linear\n")
    for section, one in ((first, measured[0]), (second, measured[1])):
        alone = summary_markdown("T", "c", summary_table(one, bootstrap), difference_table(one, bootstrap), None, [])
        tables = [line for line in alone.splitlines() if line.startswith("| `")]
        assert len(tables) == 9 and [line for line in section.splitlines() if line.startswith("| `")] == tables
    assert "MoRF alone does not rank" in second and "MoRF alone does not rank" not in first
