"""The figure of an evaluation shows what its tables say, and is the same each time."""

from __future__ import annotations

import numpy as np

from interp.plot.style import figure_bytes


def test_points_are_the_fvu_of_the_classes(result):
    panel = result.plot().axes[1]
    ours = next(line for line in panel.lines if line.get_label() == "SAE")
    np.testing.assert_array_equal(ours.get_xdata(), result.tables["classes"]["fvu"])
    assert [t.get_text().split(" (")[0] for t in panel.get_yticklabels()] == result.tables["classes"]["group"].tolist()


def test_bars_are_the_density_of_the_living(result):
    density = result.tables["density"]
    bars = result.plot().axes[0].patches[0]
    assert bars.get_data().values.tolist() == density["n_latents"].iloc[1:].tolist()
    assert f"({density['n_latents'].iloc[0]} never on)" in bars.get_label()


def test_figure_is_drawn_from_saved_tables_to_the_same_bytes(result, tmp_path):
    from interp.result import Result

    back = Result.load(result.save(tmp_path / "tables"))
    assert figure_bytes(back.plot(), "png", dpi=60) == figure_bytes(result.plot(), "png", dpi=60)
