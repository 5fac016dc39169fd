import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.plot.panels import Curve, layer_panel, line_panel, moran_scatter, null_panel, ranked_panel
from interp.plot.style import figure, figure_bytes


def legend(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


def test_null_panel_legend_counts_values_and_missing_ones():
    ax = null_panel([0.1, 0.2, np.nan], {"shuffled": [0.0, 0.1]}, xlabel="Moran's I", name="trained")
    assert legend(ax) == ["trained (n = 2, 1 without a value)", "shuffled (n = 2)"]
    assert ax.get_xlabel() == "Moran's I"


def test_ecdf_rises_to_one_at_the_largest_value():
    ax = null_panel([3.0, 1.0, 2.0], {"null": [0.0]}, xlabel="x")
    x, y = ax.lines[0].get_data()
    assert y[list(x).index(2.0)] == pytest.approx(2 / 3)
    assert (x[-1], y[-1]) == (3.0, 1.0)


def test_histogram_shares_sum_to_one_for_each_series():
    rng = np.random.default_rng(0)
    ax = null_panel(rng.normal(size=90), {"null": rng.normal(size=30)}, xlabel="x", kind="hist")
    sums = [stairs.get_data().values.sum() for stairs in ax.patches]
    np.testing.assert_allclose(sums, [1, 1], rtol=1e-12)


def test_series_differ_in_line_style_as_well_as_colour():
    ax = null_panel([1, 2], {"a": [1, 2], "b": [1, 2]}, xlabel="x")
    assert len({line.get_linestyle() for line in ax.lines}) == 3


def test_a_statistic_without_a_null_is_refused():
    with pytest.raises(InvalidInput, match="null"):
        null_panel([1, 2], {}, xlabel="x")


def test_a_series_of_missing_values_is_named():
    with pytest.raises(InvalidInput, match="shuffled"):
        null_panel([1, 2], {"shuffled": [np.nan]}, xlabel="x")


def test_ranking_is_by_value_and_never_ranks_the_missing():
    ax = ranked_panel(["a", "b", "c", "d"], [1.0, np.nan, 3.0, 2.0], xlabel="I", top=2, n=50)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["c", "d"]
    assert ax.get_xlabel() == "I, n = 50"
    assert ax.get_title(loc="right") == "2 highest of 4"


def test_intervals_and_nulls_follow_their_own_rows():
    ax = ranked_panel(["a", "b"], [1.0, 2.0], xlabel="I", low=[0.9, 1.8], high=[1.2, 2.5], null=[0.1, 0.2])
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose([[s[0][0], s[1][0]] for s in segments], [[1.8, 2.5], [0.9, 1.2]])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [0.2, 0.1])


def test_ranking_refuses_labels_of_another_length():
    with pytest.raises(InvalidInput, match="labels"):
        ranked_panel(["a"], [1.0, 2.0], xlabel="I")


def test_ranking_refuses_only_missing_values():
    with pytest.raises(InvalidInput, match="finite"):
        ranked_panel(["a"], [np.nan], xlabel="I")


def test_controls_are_dashed_and_measured_curves_solid():
    ax = layer_panel([0, 1], {"trained": Curve([0.1, 0.5], n=9), "shuffled": Curve([0, 0], control=True)}, ylabel="R²")
    assert ax.lines[0].get_linestyle() == "-"
    assert ax.lines[1].get_linestyle() != "-"
    assert legend(ax) == ["trained (n = 9)", "shuffled"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer", "R²")


def test_band_lies_where_it_was_given():
    ax = line_panel([0, 10], {"I": Curve([0.5, 0.2], low=[0.4, 0.1], high=[0.6, 0.3])}, xlabel="km", ylabel="I")
    y = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (0.1, 0.6)


def test_a_band_upside_down_is_refused():
    with pytest.raises(InvalidInput, match="low <= high"):
        line_panel([0], {"I": Curve([0.5], low=[0.6], high=[0.4])}, xlabel="km", ylabel="I")


def test_a_curve_of_another_length_is_named():
    with pytest.raises(InvalidInput, match="'trained'"):
        layer_panel([0, 1], {"trained": Curve([1.0])}, ylabel="y")


def test_moran_scatter_slope_is_morans_i_for_row_standardised_weights():
    rng = np.random.default_rng(0)
    n, k = 60, 4
    x = rng.normal(2.0, 3.0, n)
    W = np.zeros((n, n))
    for i in range(n):
        W[i, rng.choice(np.delete(np.arange(n), i), k, replace=False)] = 1 / k
    z = x - x.mean()
    expected = float(z @ W @ z / (z @ z))  # S0 = n
    ax = moran_scatter(x, W @ x, I=expected)
    x_line, y_line = ax.lines[-1].get_data()
    assert np.diff(y_line)[0] / np.diff(x_line)[0] == pytest.approx(expected, rel=1e-12)
    assert "slope" not in ax.get_title(loc="left")
    assert "n = 60" in ax.get_title(loc="left")


def test_moran_scatter_prints_a_slope_that_is_not_i():
    x = np.arange(10.0)
    assert "slope = 0.500" in moran_scatter(x, x / 2, I=0.4).get_title(loc="left")


def test_moran_scatter_refuses_a_constant():
    with pytest.raises(InvalidInput, match="the same"):
        moran_scatter(np.ones(5), np.ones(5))


def test_panels_draw_on_the_axes_they_are_given():
    fig = figure("double", 60, cols=2)
    left, right = fig.axes
    assert null_panel([1, 2], {"n": [0, 1]}, xlabel="x", ax=left) is left
    assert layer_panel([0, 1], {"a": Curve([0, 1])}, ylabel="y", ax=right) is right
    assert len(fig.axes) == 2


@pytest.mark.parametrize("fmt", ["pdf", "png", "svg"])
def test_panel_bytes_are_identical_twice(fmt):
    draw = lambda: figure_bytes(null_panel([1, 2, 4], {"n": [0, 1]}, xlabel="x").figure, fmt)  # noqa: E731
    assert draw() == draw()
