# %% [markdown]
# # Can the position of a city be read out?
#
# **Question.** A linear probe on the activations at a city's name guesses its latitude and longitude. Does it read a
# map, or does it remember the neighbours of the city?
#
# **Method.** Ridge regression to the unit sphere; the same probe judged with places held out in four ways: at random,
# in blocks of 10 degrees, in blocks with everything within 500 km left out of the fit, and by whole countries. Beside
# it run random weights, the letters of the name, and the country alone.
#
# After Gurnee and Tegmark (2023), with the folds of Roberts et al. (2017). Smaller here than in `interp run decoding`:
# 900 cities, three layers, 19 shuffles (so that p cannot fall below .05).

# %%
import interp
from analyses.geospatial import decoding_study, load_places

model = interp.load_model("atlas")
result = decoding_study(
    model,
    load_places("atlas").sample(900, random_state=0),
    twin=interp.load_model("atlas", weights="random"),
    sites=["resid_post.0", "resid_post.2", "resid_post.4"],
    cv=("random", "block", "buffered", "country"),
    permutations=19,
    n_boot=200,
)

# %% [markdown]
# ## The result beside its nulls
#
# R² of the held-out cities, a column a way of holding them out, the lenient one last. `chosen` takes in each fold the
# layer that does best on the other folds. Under random folds the country alone, with no model at all, is as good as the
# model: **that way of judging cannot tell a map from a list of countries.** With countries held out the country says
# nothing and the activations still do.

# %%
result.table.pivot_table(index=["condition", "site"], columns="scheme", values="r2", sort=False).round(2)

# %%
own = result.table[(result.table["condition"] == "trained") & (result.table["site"] == "chosen")].set_index("scheme")
own[
    ["median_km", "ci_low", "ci_high", "r2", "leakage_gap", "skill", "null_mean", "null_sd", "p", "q", "n", "n_perm"]
].round(3)

# %% [markdown]
# `null_mean` is the skill of the same probe on places that were shuffled by whole groups of the scheme; `leakage_gap`
# is what random folds add.

# %%
result.plot()

# %% [markdown]
# ## Limits
#
# - What a linear probe reads out need not be used by the model.
# - Held-out countries still have neighbours that were fitted on; a continent held out is harder (the whole study has
#   it).
# - The geography of this model was planted by its training text, as relations between places and never as coordinates.

# %%
scores = result.table.set_index(["scheme", "condition", "site"])["r2"]
assert scores["country", "trained", "chosen"] > 0.9
assert scores["country", "random weights", "chosen"] < 0.05
assert scores["country", "baseline", "country alone"] < 0.05
