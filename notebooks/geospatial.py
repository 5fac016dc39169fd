# %% [markdown]
# # Is geography laid out in the features?
#
# **Question.** Of the latents and neurons of a language model that reads city names, how many are laid out on the map,
# and how many of these are more than "which country", "how is it spelled" or "how large is it"?
#
# **Method.** Moran's I of every latent and neuron over 1,834 cities, with a calibrated p, corrected over all features.
# Each significant feature then has to survive two harder nulls: values exchanged inside countries alone, and residuals
# after country, population, number of tokens, spelling and tokens of the name.
#
# After De Sabbata, Mizzaro and Roitero (2025). Smaller here than in `interp run geospatial`: 199 permutations instead
# of 999, one number of neighbours, and no survey of the other layers.

# %%
import interp
from analyses.geospatial import StudyConfig, autocorrelation_study, load_places
from interp.plot import map_grid

model = interp.load_model("atlas")
sae = interp.load_sae("atlas/resid_post.2")
config = StudyConfig(permutations=199, neighbours=())
result = autocorrelation_study(
    model,
    sae,
    load_places("atlas"),
    twin=interp.load_model("atlas", weights="random"),
    twin_sae=interp.load_sae("atlas-random/resid_post.2"),
    survey=False,
    config=config,
)

# %% [markdown]
# ## The result beside its nulls
#
# Every row went through the same code. *Random weights*: the untrained twin, read by an SAE trained on it. *Shuffled
# places*: the trained activations on the wrong cities. *Shuffled within countries*: what the country alone leaves.
# *Names alone*: letters and tokens of the names, without any model.

# %%
summary = result.tables["summary"].set_index(["condition", "unit"])
summary[["n_tested", "n_significant", "n_geographic", "n_by_country", "n_by_name", "n_undecided", "median_I", "max_I"]]

# %%
result.plot()

# %% [markdown]
# Letters of the names are autocorrelated without any model, as places near each other share a language. So
# "significant" alone is a weak claim; the column `n_geographic` is the strong one, and every null has next to none.
#
# ## What a geographic latent looks like
#
# The six with the largest I among those called geographic.

# %%
latents = result.table[(result.table["condition"] == "trained") & (result.table["unit"] == "latent")]
values = result.tables["top_values"].rename(columns=int)
map_grid(
    values,
    result.tables["places"],
    table=latents.reset_index(drop=True),
    features=list(values.columns),
    unit="mean over the name",
)

# %%
result.tables["top_places"].query("rank <= 4").pivot(index="feature", columns="rank", values="name")

# %% [markdown]
# ## One row in full
#
# Each verdict comes with its evidence: I and p, p within countries, I and p of the residuals, the largest of the three
# p corrected over all tested features.

# %%
columns = [
    "feature",
    "verdict",
    "I",
    "p",
    "q",
    "p_within_country",
    "I_residual",
    "p_residual",
    "q_geographic",
    "n",
    "n_perm",
]
latents[latents["status"] == "ok"].nlargest(5, "I")[columns]

# %% [markdown]
# ## Limits
#
# - Not rejecting a null is no proof of it: "explained by country" says that nothing beyond the country was shown.
# - A geographic feature need not be used by the model. That takes an intervention; see `probing`.
# - What varies inside a country and was not among the covariates, such as a regional language, is not taken out.
# - The geography of this model was planted by its training text.

# %%
geographic = summary["n_geographic"]
assert geographic["trained", "latent"] > 100
assert geographic[["random weights", "shuffled places", "names alone"]].max() <= 2
