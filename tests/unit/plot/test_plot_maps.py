import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from scipy.sparse import csc_array

from interp.errors import InvalidInput, UnknownName
from interp.plot.basemap import draw_basemap
from interp.plot.coast import country_box, load_coastline, shorelines
from interp.plot.extent import REGIONS, resolve_extent
from interp.plot.grid import map_grid
from interp.plot.lisa import CLUSTERS, plot_lisa
from interp.plot.maps import plot_map
from interp.plot.points import point_size
from interp.plot.projection import equal_earth, unwrap
from interp.plot.style import figure, figure_bytes

CITIES = pd.DataFrame(
    {
        "name": ["London", "Paris", "Suva", "Apia", "Quito"],
        "lat": [51.51, 48.85, -18.14, -13.83, -0.18],
        "lon": [-0.13, 2.35, 178.44, -171.77, -78.47],
    }
)


def scatters(ax):
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def coloured(ax):
    return next(c for c in scatters(ax) if c.get_array() is not None)


def caption(ax):
    return " ".join(ax.get_xlabel().replace("\N{NO-BREAK SPACE}", " ").split())


def many_places(n, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"name": [f"p{i}" for i in range(n)], "lat": rng.uniform(-50, 70, n), "lon": rng.uniform(-180, 180, n)}
    )


# Where points fall


def test_london_is_drawn_north_of_paris_at_its_own_longitude():
    ax = plot_map([1, 2], CITIES.head(2))
    xy = np.asarray(coloured(ax).get_offsets())
    np.testing.assert_allclose(xy, [[-0.13, 51.51], [2.35, 48.85]], rtol=0, atol=1e-12)


def test_regional_map_scales_longitude_by_the_cosine_of_its_parallel():
    ax = plot_map([1, 2], CITIES.head(2), extent=(-10, 10, 45, 55))
    x = np.asarray(coloured(ax).get_offsets())[:, 0]
    np.testing.assert_allclose(x, np.array([-0.13, 2.35]) * np.cos(np.deg2rad(50)), rtol=0, atol=1e-12)
    assert "50° N" in caption(ax)


def test_places_on_both_sides_of_the_antimeridian_are_neighbours_on_an_auto_map():
    ax = plot_map([1, 2], CITIES.iloc[2:4], extent="auto")
    x = np.sort(np.asarray(coloured(ax).get_offsets())[:, 0])
    shrink = np.cos(np.deg2rad(16))
    assert np.diff(x)[0] == pytest.approx((360 - 178.44 - 171.77) * shrink, abs=1e-9)
    assert "outside" not in caption(ax)


def test_an_extent_may_cross_the_antimeridian():
    ax = plot_map([1, 2, 3, 4, 5], CITIES, extent=(170, -160, -30, 0))
    assert len(coloured(ax).get_offsets()) == 2
    assert "3 outside the map" in caption(ax)


def test_land_is_drawn_on_both_sides_of_an_antimeridian_map():
    ax = plot_map([1, 2], CITIES.iloc[2:4], extent="pacific")
    vertices = np.concatenate([p.vertices for p in ax.collections[0].get_paths()])
    assert vertices[:, 0].min() < -60 < 60 < vertices[:, 0].max()


@pytest.mark.parametrize("lon", [-180.0, 180.0, 540.0])
def test_unwrap_maps_the_antimeridian_to_one_edge(lon):
    assert unwrap(lon, 0.0) == -180.0


def test_swapped_coordinates_are_refused():
    swapped = CITIES.rename(columns={"lat": "lon", "lon": "lat"})
    with pytest.raises(InvalidInput, match="swapped"):
        plot_map(np.ones(5), swapped)


def test_missing_coordinate_columns_are_named():
    with pytest.raises(InvalidInput, match="lat"):
        plot_map([1.0], pd.DataFrame({"latitude": [1.0], "lon": [2.0]}))


# The projection


def test_equal_earth_keeps_areas():
    """The area element dx/dλ · dy/dφ equals cos φ on the sphere, at every latitude."""
    lat = np.linspace(-85, 85, 171)
    step = 1e-4
    width = (equal_earth(np.full(171, step), lat)[0] - equal_earth(np.full(171, -step), lat)[0]) / np.deg2rad(2 * step)
    height = (equal_earth(0 * lat, lat + step)[1] - equal_earth(0 * lat, lat - step)[1]) / np.deg2rad(2 * step)
    np.testing.assert_allclose(width * height, np.cos(np.deg2rad(lat)), rtol=2e-6, atol=0)


def test_equal_earth_whole_sphere_has_the_published_size():
    """Savric et al. 2018: width to height 2.05458, pole lines .59247 of the equator's length."""
    width, height = 2 * equal_earth(180, 0)[0], 2 * equal_earth(0, 90)[1]
    assert width / height == pytest.approx(2.05458, abs=5e-5)
    assert equal_earth(180, 90)[0] / equal_earth(180, 0)[0] == pytest.approx(0.59247, abs=5e-5)


def test_equal_earth_is_odd_in_both_coordinates():
    x, y = equal_earth([30, -30], [40, -40])
    np.testing.assert_allclose([x[0], y[0]], [-x[1], -y[1]], rtol=1e-15)


def test_unknown_projection_names_the_nearest():
    with pytest.raises(UnknownName, match="equal_earth"):
        plot_map(np.ones(5), CITIES, projection="equalearth")


# What is drawn, and in which order


def test_inactive_places_are_grey_small_and_beneath():
    ax = plot_map([0.0, 3.0, 0.0, 1.0, 2.0], CITIES)
    grey, _, colour = scatters(ax)
    assert len(grey.get_offsets()) == 2
    assert grey.get_zorder() < colour.get_zorder()
    assert grey.get_sizes()[0] < colour.get_sizes()[0]


def test_largest_values_are_drawn_last():
    ax = plot_map([0.5, 3.0, 2.0, 1.0, 2.5], CITIES)
    assert np.all(np.diff(np.asarray(coloured(ax).get_array())) > 0)


def test_signed_values_get_a_scale_symmetric_about_zero_and_no_inactive_places():
    ax = plot_map([-1.0, 3.0, 0.0, 1.0, 2.0], CITIES)
    assert (coloured(ax).norm.vmin, coloured(ax).norm.vmax) == (-3.0, 3.0)
    assert len(coloured(ax).get_offsets()) == 5
    assert "inactive" not in caption(ax)


def test_each_point_keeps_the_value_of_its_place():
    values = np.array([0.5, 3.0, 0.0, 1.0, 2.5])
    ax = plot_map(values, CITIES)
    found = {round(x, 2): v for (x, _), v in zip(coloured(ax).get_offsets(), coloured(ax).get_array(), strict=True)}
    assert found == {-0.13: 0.5, 2.35: 3.0, -171.77: 1.0, -78.47: 2.5}


def test_caption_names_crs_source_and_every_count():
    ax = plot_map([0.0, 3.0, np.nan, 1.0, 2.0], CITIES, caption="Latent 7.")
    assert caption(ax) == (
        "Latent 7. n = 5 places: 3 active, 1 inactive (grey), 1 without a value (hollow). "
        "WGS84, plate carrée; outlines: Natural Earth 1:110m."
    )
    assert "WGS84, Equal Earth" in caption(plot_map(np.ones(5), CITIES, projection="equal_earth"))


def test_colour_bar_carries_the_unit():
    ax = plot_map([1, 2, 3, 4, 5], CITIES, unit="activation (a.u.)")
    assert ax.figure.axes[1].get_ylabel() == "activation (a.u.)"


def test_values_beyond_the_limits_are_shown_by_arrows_on_the_bar():
    ax = plot_map([1, 2, 3, 4, 5], CITIES, limits=(0, 4))
    assert coloured(ax).colorbar.extend == "max"


def test_all_inactive_map_is_drawn_without_a_colour_scale():
    ax = plot_map(np.zeros(5), CITIES)
    assert len(ax.figure.axes) == 1
    assert "0 active, 5 inactive" in caption(ax)


def test_infinite_values_and_wrong_lengths_are_refused():
    with pytest.raises(InvalidInput, match="infinite"):
        plot_map([1, 2, 3, 4, np.inf], CITIES)
    with pytest.raises(InvalidInput, match="one value per place"):
        plot_map([1, 2], CITIES)


def test_arguments_are_not_changed():
    values, places = np.array([0.0, 1.0, np.nan, 2.0, 3.0]), CITIES.copy()
    plot_map(values, places)
    np.testing.assert_array_equal(values, [0.0, 1.0, np.nan, 2.0, 3.0])
    pd.testing.assert_frame_equal(places, CITIES)


def test_markers_shrink_as_places_grow():
    sizes = [point_size(n) for n in (50, 500, 5000, 30000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 5 * sizes[-1]


def test_map_bytes_are_identical_twice():
    draw = lambda: figure_bytes(plot_map(np.arange(5.0), CITIES, projection="equal_earth").figure, "svg")  # noqa: E731
    assert draw() == draw()


def test_map_of_thirty_thousand_places_stays_small_as_a_vector_file():
    places = many_places(30_000)
    ax = plot_map(np.random.default_rng(0).gamma(1, 1, 30_000), places)
    assert len(figure_bytes(ax.figure, "pdf")) < 2_000_000


# Windows


def test_named_regions_countries_and_numbers_resolve():
    lon, lat = CITIES["lon"].to_numpy(), CITIES["lat"].to_numpy()
    assert resolve_extent("world", lon, lat).half_width == 180
    italy = resolve_extent("ita", lon, lat)
    assert (italy.lon0 < 6.8, italy.lon1 > 18.4, italy.lat0 < 36.7, italy.lat1 > 47.0) == (True,) * 4
    assert resolve_extent((170, 200, -5, 5), lon, lat) == resolve_extent((-190, -160, -5, 5), lon, lat)


def test_country_window_leaves_overseas_parts_out():
    lon0, lon1, lat0, lat1 = country_box("FRA")
    assert -6 < lon0 < lon1 < 11
    assert 40 < lat0 < lat1 < 52


def test_countries_that_natural_earth_leaves_uncoded_have_their_code():
    assert {"FRA", "NOR"} <= set(load_coastline().iso3)
    assert load_coastline().iso3.count("-99") == 3


def test_every_place_of_an_auto_map_is_inside_it():
    for seed in range(5):
        places = many_places(40, seed)
        window = resolve_extent("auto", places["lon"].to_numpy(), places["lat"].to_numpy())
        frame = draw_basemap(figure().axes[0], places, extent="auto", proj="plate")
        assert frame.inside(places["lon"], places["lat"]).all(), window


def test_auto_window_of_one_place_is_not_empty():
    window = resolve_extent("auto", np.array([10.0]), np.array([50.0]))
    assert window.lon0 < 10 < window.lon1
    assert window.lat0 < 50 < window.lat1


def test_unknown_extent_names_the_nearest():
    with pytest.raises(UnknownName, match="europe"):
        resolve_extent("europa", np.array([0.0]), np.array([0.0]))


@pytest.mark.parametrize("bad", [(0, 10, 20), (0, 10, 50, 40), (0, 10, -95, 40), (0, np.nan, 0, 1)])
def test_numbers_that_are_no_window_are_refused(bad):
    with pytest.raises(InvalidInput, match="extent"):
        resolve_extent(bad, np.array([0.0]), np.array([0.0]))


# The outlines


def test_outlines_hold_the_bundled_rings():
    coast = load_coastline()
    assert (len(coast.rings), len(coast.iso3)) == (289, 289)
    assert sum(map(len, coast.rings)) == 10_654
    everything = np.concatenate(coast.rings)
    assert np.abs(everything[:, 0]).max() <= 180
    assert np.abs(everything[:, 1]).max() <= 90


def test_outlines_are_lon_lat_in_that_order():
    box = country_box("ISL")
    assert box == pytest.approx((-24.3, -13.6, 63.5, 66.5), abs=0.3)


def test_seam_at_the_antimeridian_is_no_coast():
    for ring in load_coastline().rings:
        for line in shorelines(ring):
            on_seam = (np.abs(line[:, 0]) == 180) | (line[:, 1] == -90)
            assert not (on_seam[:-1] & on_seam[1:]).any()


def test_shared_outlines_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        load_coastline().rings[0][0, 0] = 1.0


def test_regions_are_windows_on_the_globe():
    for lon0, lon1, lat0, lat1 in REGIONS.values():
        assert lon0 < lon1 <= lon0 + 360
        assert -90 <= lat0 < lat1 <= 90


# Local Moran clusters


def test_legend_has_every_class_with_its_n_even_when_one_class_occurs():
    ax = plot_lisa(["HH"] * 5, CITIES, correction="q ≤ .05, Benjamini–Hochberg")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "high among high (HH): 5",
        "low among low (LL): 0",
        "high among low (HL): 0",
        "low among high (LH): 0",
        "not significant: 0",
        "no neighbours: 0",
        "no test: 0",
    ]


def test_a_class_keeps_its_colour_when_others_are_absent():
    def colour_of(ax, name):
        artist = next(c for c in scatters(ax) if c.get_label() == name)
        return tuple(artist.get_facecolors()[0])

    alone = plot_lisa(["LL"] * 5, CITIES, correction="none")
    mixed = plot_lisa(["HH", "LL", "HL", "ns", "island"], CITIES, correction="none")
    assert colour_of(alone, "LL") == colour_of(mixed, "LL")
    assert len({look.colour for look in CLUSTERS.values()}) == len(CLUSTERS)


def test_lisa_points_lie_at_the_places_of_their_class():
    ax = plot_lisa(["HH", "LL", "HL", "ns", "island"], CITIES, correction="none")
    for name, (_, place) in zip(["HH", "LL", "HL", "ns", "island"], CITIES.iterrows(), strict=True):
        artist = next(c for c in scatters(ax) if c.get_label() == name)
        np.testing.assert_allclose(np.asarray(artist.get_offsets()), [[place["lon"], place["lat"]]], atol=1e-12)


def test_lisa_caption_states_correction_n_and_crs():
    text = caption(plot_lisa(["ns"] * 5, CITIES, correction="q ≤ .05, Benjamini–Hochberg"))
    assert "q ≤ .05, Benjamini–Hochberg" in text
    assert "n = 5 places" in text
    assert "WGS84" in text


def test_islands_are_drawn_hollow():
    ax = plot_lisa(["island"] * 5, CITIES, correction="none")
    artist = next(c for c in scatters(ax) if c.get_label() == "island")
    assert artist.get_facecolors().size == 0
    assert len(artist.get_offsets()) == 5


def test_words_are_accepted_for_the_classes_without_a_quadrant():
    ax = plot_lisa(["not significant", "no neighbours", "no_test", "LL", "HL"], CITIES, correction="none")
    assert [t.get_text() for t in ax.get_legend().get_texts()[4:]] == [
        "not significant: 1",
        "no neighbours: 1",
        "no test: 1",
    ]


def test_every_class_is_drawn_in_the_colour_of_its_legend():
    from matplotlib.colors import to_hex

    labels = ["HH", "LL", "HL", "LH", "ns", "island", "no test"]
    ax = plot_lisa(labels, pd.concat([CITIES, CITIES.head(2)], ignore_index=True), correction="none")
    artists = {c.get_label(): c for c in scatters(ax)}
    for handle, name in zip(ax.get_legend().legend_handles, labels, strict=True):
        drawn = artists[name].get_facecolors() if name != "island" else artists[name].get_edgecolors()
        shown = handle.get_markerfacecolor() if name != "island" else handle.get_markeredgecolor()
        assert to_hex(drawn[0]) == to_hex(shown)


def test_places_outside_a_lisa_map_are_counted_and_said_to_be():
    ax = plot_lisa(["HH", "HH", "LL", "ns", "ns"], CITIES, correction="none", extent="europe")
    assert ax.get_legend().get_texts()[0].get_text().endswith(": 2")
    assert "3 of them outside the map and counted in the legend" in caption(ax)


def test_unknown_class_names_the_nearest():
    with pytest.raises(InvalidInput, match="HH"):
        plot_lisa(["High-High"] * 5, CITIES, correction="none")


def test_correction_must_be_stated():
    with pytest.raises(InvalidInput, match="correction"):
        plot_lisa(["HH"] * 5, CITIES, correction=" ")


# Small multiples


def grid_table():
    return pd.DataFrame(
        {"feature": [0, 1, 2], "I": [0.2, 0.9, 0.99], "q": [0.2, 1e-7, np.nan], "status": ["ok", "ok", "constant"]}
    )


def test_grid_draws_the_highest_tested_features_and_titles_them_with_i_and_q():
    fig = map_grid(np.random.default_rng(0).random((5, 3)), CITIES, table=grid_table())
    titles = [ax.get_title(loc="left") for ax in fig.axes if ax.get_title(loc="left")]
    assert titles == ["feature 1:  I = 0.900, q <.001", "feature 0:  I = 0.200, q = .200"]


@pytest.mark.parametrize("shared", [True, False])
def test_grid_states_whether_the_scale_is_shared(shared):
    X = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [1.0, 10.0], [1.0, 10.0]])
    fig = map_grid(X, CITIES, table=grid_table().head(2), shared_scale=shared)
    tops = [coloured(ax).norm.vmax for ax in fig.axes if scatters(ax)]
    assert tops == ([30.0, 30.0] if shared else [30.0, 3.0])
    words = "One colour scale" if shared else "Each panel has its own colour scale"
    assert words in fig.get_supxlabel()


def test_grid_reads_sparse_columns_as_dense_ones():
    X = np.random.default_rng(0).random((5, 3)) * (np.random.default_rng(1).random((5, 3)) > 0.5)
    dense, sparse = (figure_bytes(map_grid(x, CITIES, table=grid_table()), "png", dpi=60) for x in (X, csc_array(X)))
    assert dense == sparse


def test_grid_refuses_a_feature_without_a_test():
    with pytest.raises(InvalidInput, match="no row"):
        map_grid(np.ones((5, 3)), CITIES, table=grid_table(), features=[7])
    with pytest.raises(InvalidInput, match="no column"):
        map_grid(np.ones((5, 1)), CITIES, table=grid_table(), features=[2])
