"""Contenders in turns: rates, ratios and verdicts by hand, and how crowded the machine was."""

import itertools

import pandas as pd
import pytest
import torch

from fa_repro.speed import Comparison, Contender, contention, interleave, rate_table, ratio_table
from fa_repro.speed.figures import rates_figure
from fa_repro.speed.summary import summary_markdown

CPU = torch.device("cpu")


def test_contenders_run_in_turns_and_the_first_round_is_not_measured():
    ran, clock = [], itertools.count(0.0, 0.5)  # every run takes half a second

    def contender(name: str, images: int) -> Contender:
        return Contender(name, lambda: ran.append(name) or images)

    told = []
    rates = interleave([contender("x", 10), contender("y", 30)], 2, CPU, told.append, lambda: next(clock))
    assert ran == told == ["x", "y", "y", "x", "x", "y"]
    # Runs of the first round read the clock once, at their start; the measured ones twice: 10 and 30 images in 0.5 s.
    assert rates.to_dict("list") == {"x": [20.0, 20.0], "y": [60.0, 60.0]}


def test_tables_by_hand():
    rates = pd.DataFrame({"x": [10.0, 20.0, 60.0], "y": [10.0, 40.0, 20.0]})
    speeds = rate_table(rates)
    assert speeds.to_dict("list") == {
        "contender": ["x", "y"],
        "images_per_second": [20.0, 20.0],
        "low": [10.0, 10.0],
        "high": [60.0, 40.0],
        "rounds": [3, 3],
    }
    comparisons = [
        Comparison("kept", "x", "y", ">=", 1.0),
        Comparison("broken", "x", "y", ">=", 1.01),
        Comparison("kept from below", "x", "y", "<=", 1.0),
        Comparison("broken from below", "x", "y", "<=", 0.99),
        Comparison("alone", "x", "y"),
        Comparison("absent", "x", "z", ">=", 1.0),
    ]
    ratios = ratio_table(rates, comparisons)
    # Round by round 1, 0.5 and 3: the median is taken of the ratios, not the ratio of the medians' rounds.
    assert ratios.ratio.tolist() == [1.0] * 5
    assert ratios.low.tolist() == [0.5] * 5
    assert ratios.high.tolist() == [3.0] * 5
    assert ratios.met.tolist() == [True, False, True, False, None]
    assert "absent" not in ratios.comparison.tolist()


def test_waiting_is_counted_in_measured_runs_that_are_not_crowded_by_their_own(monkeypatch):
    # By the nanosecond: the process has one thread that runs 90 and waits 10 each time that it is looked at.
    looks = itertools.count(1)
    monkeypatch.setattr(contention, "_threads", lambda: {"1": (90 * next(looks), 10 * next(looks))})
    watch = contention.Contention()
    assert watch.share is None  # of nothing
    crowded = Contender("own workers", lambda: 1, crowded=True)
    interleave([Contender("alone", lambda: 1), crowded], 3, CPU, contention=watch)
    assert watch.share == pytest.approx(0.1)
    assert next(looks) == 1 + 2 * 2 * 3  # at both ends of three runs of one of the two
    monkeypatch.setattr(contention, "_threads", lambda: None)
    with watch:
        pass
    assert watch.share is None


def test_running_and_waiting_are_the_first_two_figures_of_every_thread(monkeypatch, tmp_path):
    monkeypatch.setattr(contention, "TASKS", tmp_path / "task")
    assert contention._threads() is None  # as on another system
    (tmp_path / "task" / "13").mkdir(parents=True)  # a thread that has ended
    assert contention._threads() is None
    for thread, figures in (("11", "90 10 5\n"), ("12", "7 3 1\n")):
        (tmp_path / "task" / thread).mkdir()
        (tmp_path / "task" / thread / "schedstat").write_text(figures)
    assert contention._threads() == {"11": (90, 10), "12": (7, 3)}


@pytest.mark.parametrize("rates", [[300.0, 1000.0], [1.2, 3457.0], [520.0, 530.0]])
def test_the_pictures_axis_is_labelled_in_plain_numbers(rates):
    table = pd.DataFrame({"contender": ["x", "y"], "images_per_second": rates, "low": rates, "high": rates})
    fig = rates_figure(table, "title")
    fig.canvas.draw()
    (axes,) = fig.axes
    labels = [label.get_text() for label in axes.get_xticklabels(which="both")]
    assert any(labels) and not any("$" in label for label in labels)


@pytest.mark.parametrize(
    ("share", "said", "verdicts"),
    [
        (0.3, "Nothing can be concluded", ["nothing can be concluded"] * 2 + ["–"]),
        (0.01, "no other program here was in its way", ["kept", "NOT kept", "–"]),
        (None, "not known", ["kept", "NOT kept", "–"]),
    ],
)
def test_a_busy_machine_gives_no_verdict(share, said, verdicts):
    rates = pd.DataFrame({"x": [10.0, 20.0], "y": [10.0, 20.0]})
    comparisons = [Comparison("one", "x", "y", ">=", 1.0), Comparison("two", "x", "y", ">=", 2.0)]
    ratios = ratio_table(rates, [*comparisons, Comparison("three", "x", "y")])
    page = summary_markdown("Speed", "conditions", rate_table(rates), ratios, [], share)
    assert said in page
    for words, verdict in zip(("one | >= 1", "two | >= 2", "three | –"), verdicts, strict=True):
        assert f"| {words} | 1.00 [1.00, 1.00] | {verdict} |" in page
