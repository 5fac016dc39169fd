# %% [markdown]
# # Quick start: one latent, one map, one null
#
# **Question.** A sparse autoencoder (SAE) splits the residual stream of a small language model into 2,048 latents. Does
# any of them know where on Earth a city is?
#
# **Method.** Each of 1,834 cities is a prompt of its name alone; activations after block 2 are captured at the tokens
# of the name and encoded by the SAE. Moran's I says whether cities that are neighbours on the globe have like values;
# its null is the same values on exchanged cities, its control the same model with random weights.
#
# Everything below is offline: model, SAEs, cities and coastline come with the package.

# %%
import interp
from analyses.geospatial import load_places, make_prompts, moran, placename_activations, spatial_weights
from interp.plot import plot_map

model = interp.load_model("atlas")
twin = interp.load_model("atlas", weights="random")
sae = interp.load_sae("atlas/resid_post.2")
twin_sae = interp.load_sae("atlas-random/resid_post.2")
places = load_places("atlas")

# %% [markdown]
# ## What goes in
#
# The exact tokens, the beginning-of-sequence token (BOS) marked. The site `resid_post.2` is the residual stream after
# block 2: 192 numbers a token.

# %%
interp.show_tokens(model, "Paris is near Lyon")

# %%
acts = interp.capture(model, ["Paris is near Lyon"], "resid_post.2", pool="last")
latents = sae.encode(acts["resid_post.2"])
print(
    "captured", tuple(acts["resid_post.2"].shape), "latents", tuple(latents.shape), "active", int((latents > 0).sum())
)

# %% [markdown]
# ## Every city, every latent
#
# The mean over the tokens of the name, BOS left out, of the model and of its twin. `moran` tests all latents in one
# call: `p` from 199 exchanges of the cities where these resolve it, `q` corrected over the latents
# (Benjamini-Hochberg). A latent that is on at fewer than ten cities gets a `status` and no p.

# %%
prompts = make_prompts(places)
neighbours = spatial_weights(places, k=8)
trained = placename_activations(model, prompts, "resid_post.2", sae=sae).latents
random = placename_activations(twin, prompts, "resid_post.2", sae=twin_sae).latents
tests = moran(trained, neighbours, permutations=199, seed=0)
control = moran(random, neighbours, permutations=199, seed=0)
tests["status"].value_counts().to_frame("latents")

# %%
tests.nlargest(5, "I")[["feature", "I", "expected", "null_sd", "p", "q", "n", "n_active", "status"]]

# %% [markdown]
# ## The control
#
# With random weights, read by an SAE that was trained on them, the same tests say almost nothing. That is what the
# count above has to be compared with: not zero, but what tokens shared between names give by themselves.

# %%
found, by_chance = int((tests["q"] < 0.05).sum()), int((control["q"] < 0.05).sum())
print(f"trained: {found} of {tests['q'].notna().sum()} latents, largest I {tests['I'].max():.2f}")
print(f"random weights: {by_chance} of {control['q'].notna().sum()} latents, largest I {control['I'].max():.2f}")

# %% [markdown]
# ## The map
#
# One dot a city, the latent with the largest I.

# %%
best = int(tests.loc[tests["I"].idxmax(), "feature"])
ax = plot_map(trained[:, [best]].toarray().ravel(), places, unit="mean over the name", title=f"latent {best}")
ax.figure

# %% [markdown]
# ## What this does not show
#
# - A country gives its cities one value and so gives a large I: `geospatial` asks what is left within countries.
# - That something is there does not say that the model uses it: `probing` erases what it reads.
# - The geography of this model was planted by its training text. It is an instrument with known answers, not a finding.

# %%
assert found > 10 * max(by_chance, 1)
assert tests["I"].max() > 0.8
