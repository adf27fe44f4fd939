"""Tables of open questions, from rows by hand."""

from pathlib import Path

import pandas as pd

from lmc_lab.reporting.question_tables import (
    QUESTION_TABLES,
    alignment_table,
    asked_tables,
    chaos_table,
    class_geometry_table,
    collapse_table,
    ensembles_table,
    example_barriers_table,
    gap_terms_table,
    kernel_table,
    noise_table,
    shared_examples_table,
)
from lmc_lab.results.row_file import SCHEMA
from question_rows import (
    alignment_rows,
    chaos_rows,
    collapse_rows,
    example_rows,
    kernel_rows,
    noise_rows,
    part_rows,
)


def test_a_line_a_mode_with_intervals_where_there_are_some():
    shared = {"task": "t", "trunk": 0, "split_step": 5, "subset": "train", "num_samples": 7, "num_endpoints": 3}
    rows = (
        pd.DataFrame(
            [
                {**shared, "quantity": "gap_bend", "value": 0.25, "low": 0.125, "high": 0.375},
                {**shared, "quantity": "gap_averaging_probabilities", "value": 0.5},
                {**shared, "quantity": "ensemble_loss", "value": 0.75},
                {**shared, "quantity": "centre_accuracy", "value": 0.625, "subset": "test"},
                {**shared, "quantity": "centre_accuracy", "value": 0.875},
                {**shared, "quantity": "gap_bend", "value": 9.0, "subset": "test"},
                {**shared, "quantity": "p_conv", "value": 1.0, "split_step": 6},
            ]
        )
        .reindex(columns=list(SCHEMA))
        .astype(SCHEMA)
    )
    (line,) = gap_terms_table(rows).to_dict("records")
    assert line["bend"] == "0.25 [0.125, 0.375]" and line["of averaging probabilities"] == "0.5"
    assert (line["k"], line["P"], line["J"], line["above the nearest endpoint"]) == (5, 3, 7, "")
    (line,) = ensembles_table(rows).to_dict("records")
    assert (line["training loss of the mean of outputs"], line["test accuracy of the centre"]) == ("0.75", "0.625")
    assert line["training loss of the centre"] == line["test accuracy of probabilities"] == ""


def test_collapse_at_a_split_stands_beside_that_of_its_endpoints():
    lines = collapse_table(collapse_rows()).to_dict("records")
    assert [(line["trunk"], line["k"]) for line in lines] == [(0, 0), (0, 25), (1, 0), (1, 25)]
    line = lines[3]
    assert (line["P"], line["J"], line["bend of class means"]) == (2, 100, "0.00769 [0.00692, 0.00846]")
    assert line["NC1 at W_k"] == "1"  # (1 + 1) / (1 + 25 / 25)
    assert line["NC3 of endpoints"] == "0.16 (0.159 to 0.161)"  # 5 * 2 / 63 and 5 * 2 / 62, not those at step 100


def test_angles_in_one_hull_stand_beside_those_between_hulls():
    (line,) = class_geometry_table(collapse_rows()).to_dict("records")
    assert (line["k"], line["endpoints"]) == (25, 4)
    assert (line["in one hull"], line["between hulls"]) == ("0.1 [0.05, 0.15]", "0.3 [0.25, 0.35]")


def test_each_way_to_align_neurons_is_a_line_at_each_split():
    lines = alignment_table(alignment_rows()).to_dict("records")
    assert len(lines) == 14 and [line["k"] for line in lines] == [0] * 7 + [25] * 7
    first, centres, last = lines[0], lines[8], lines[-1]
    assert (first["aligned by"], first["distance"], first["barrier between trunks"]) == (
        "not aligned",
        "70",
        "7 [6.3, 7.7]",
    )
    assert (centres["aligned by"], centres["p_conv of all"]) == ("weights of centres", "0.1 [0, 0.2]")
    assert (centres["loss at the centre of all"], centres["share of S* that it has right"]) == ("1.5", "0.6")
    assert (last["aligned by"], last["barrier between trunks"], last["p_conv of all"]) == (
        "weights of each pair alone", "0.5 [0.45, 0.55]", "",
    )  # fmt: skip


def test_each_kind_of_noise_is_a_line_at_each_split_with_its_mixture_with_the_order():
    lines = noise_table(noise_rows()).to_dict("records")
    assert len(lines) == 2 * 2 * 6 and {line["k"] for line in lines} == {0, 25}
    order, labels = lines[0], lines[3]
    assert (order["noise"], order["p_conv"], order["p_conv with the order"]) == ("order", "0.333 [0.233, 0.433]", "")
    assert (labels["noise"], labels["hull radius"]) == ("wrong labels", "8 [7, 10]")
    assert labels["p_conv with the order"] == "0.0909 [-0.00909, 0.191]"  # the ninth of all hulls: 1 / (3 + 8)
    assert labels["distance to the order"] == "13 [12, 15]"


def test_sigma_50_stands_beside_the_exponent_of_the_window_at_its_split():
    lines = chaos_table(chaos_rows()).to_dict("records")
    assert [(line["trunk"], line["k"]) for line in lines] == [(0, 0), (0, 25), (1, 0), (1, 25)]
    assert lines[0]["sigma_50, Gaussian"] == "0.2 [0.1, 0.4]"
    assert lines[3]["sigma_50, along a gradient"] == "0.8 [0.4, ]"  # open at the larger sizes
    assert lines[3]["Lyapunov exponent from W_k"] == "0.004 [0.003, 0.005]"


def test_distances_of_kernels_of_endpoints_stand_beside_the_velocity_at_their_split():
    lines = kernel_table(kernel_rows()).to_dict("records")
    assert [(line["trunk"], line["k"]) for line in lines] == [(0, 0), (0, 25), (1, 0), (1, 25)]
    assert lines[3]["velocity at W_k"] == "0.1 [0.09, 0.11]"
    assert lines[3]["between endpoints"] == "0.02 [0.01, 0.04]"
    assert lines[3]["of endpoints to W_k"] == "0.04 [0.02, 0.08]"
    assert {line["between trunks"] for line in lines} == {"0.3 [0.2, 0.4]"}


def test_barriers_of_examples_right_by_all_stand_beside_those_of_the_others():
    lines = example_barriers_table(example_rows()).to_dict("records")
    assert [(line["trunk"], line["k"]) for line in lines] == [(0, 0), (0, 25), (1, 0), (1, 25)]
    assert (lines[0]["share right by all"], lines[0]["barrier of these"]) == ("0.3", "0.02 [0.018, 0.022]")
    assert (lines[1]["of the others"], lines[2]["EL2N of the others"]) == ("0.08 [0.072, 0.088]", "0.8 [0.72, 0.88]")
    assert lines[3]["rank correlation of EL2N and barrier"] == "0.24 [0.216, 0.264]"


def test_hulls_of_each_part_of_the_examples_stand_below_that_of_all():
    lines = shared_examples_table(part_rows()).to_dict("records")
    assert len(lines) == 20 and [line["trained on"] for line in lines[:3]] == [
        "all examples", "right by all", "not right by all"
    ]  # fmt: skip
    assert [line["examples"] for line in lines[:5]] == ["all", 100, 200, 300, 400]
    assert (lines[1]["p_conv, seen"], lines[1]["p_conv, all"]) == ("0.45 [0.405, 0.495]", "0.5 [0.45, 0.55]")
    assert (lines[0]["p_conv, seen"], lines[0]["endpoint_accuracy, all"]) == ("0.2", "0.2")


def test_the_page_has_a_table_of_each_question_that_was_asked_and_of_no_other():
    rows = pd.concat([collapse_rows(), kernel_rows()], ignore_index=True)
    analyses = {"class_mean_bend": "hull_collapse", "kernel_distance_endpoints": "branch_kernel"}
    assert not asked_tables(rows.assign(analysis="convex_mode"))
    tables = asked_tables(rows.assign(analysis=rows["quantity"].map(analyses).astype("string")))
    assert list(tables) == ["Neural collapse", "Tangent kernels"] and not any(table.empty for table in tables.values())


def test_each_table_is_of_an_analysis_that_there_is():
    known = {path.stem for path in (Path(__file__).parents[2] / "conf" / "analysis").glob("*.yaml")}
    assert {table.analysis for table in QUESTION_TABLES.values()} <= known
