from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.geospatial import car_test, spatial_weights


def test_car_table():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"name": "p", "lat": rng.uniform(-60, 60, 150), "lon": rng.uniform(-180, 180, 150)})
    W = spatial_weights(places, k=6)
    X = pd.DataFrame(rng.normal(size=(150, 3)), columns=["smooth", "a", "b"]).assign(dead=0.0)
    X["smooth"] = W.csr @ X["smooth"].to_numpy()
    table = car_test(X, W, permutations=99, rho=0.8)
    columns = "feature Q null_mean null_sd z p q n n_active n_perm seed alternative n_tests correction rho status"
    assert list(table.columns) == columns.split()
    assert table["p"][0] == 0.01
    assert table["status"].tolist() == ["ok"] * 3 + ["constant"]
    assert (table["null_mean"][:3] == 1).all()
