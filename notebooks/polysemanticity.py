# %% [markdown]
# # Does this unit mean one thing or several?
#
# **Question.** Neurons are said to be polysemantic and SAE latents monosemantic. How often is that true here, and how
# often would an audit say so of a direction drawn at random?
#
# **Method.** Of each unit, examples are drawn from its whole range of activation, not from the top alone, and clustered
# in several views: the token, the words before it, the residual stream, the next token. A unit has *one concept* if in
# some view a single cluster holds nearly all examples, *several* if no view says so and two or more clusters are found
# again in the other half of the examples; else it is undecided.
#
# Smaller here than in `interp run polysemanticity`: 60 neurons and 60 latents drawn at random, 600 texts, no masks.

# %%
from itertools import islice

import interp
from analyses.polysemanticity import AuditConfig, StudyConfig, polysemanticity_study

model = interp.load_model("atlas")
texts = [text.text for text in islice(interp.atlas.facts().texts(3_000_017), 600)]
result = polysemanticity_study(
    model,
    interp.load_sae("atlas/resid_post.2"),
    texts,
    twin=interp.load_model("atlas", weights="random"),
    twin_sae=interp.load_sae("atlas-random/resid_post.2"),
    config=StudyConfig(n_texts=600, n_units=60, n_controls=60, n_mixtures=10, audit=AuditConfig(n_boot=5)),
)

# %% [markdown]
# ## The verdicts beside their nulls
#
# Two controls: the random-weights twin, and random directions of the same place, which mean nothing by construction but
# have strongest texts all the same. `p` is Fisher's exact test against the trained model.

# %%
shares = result.tables["shares"].set_index(["kind", "condition"])
shares[
    ["n", "n_untested", "share", "ci_low", "ci_high", "p", "q", "share_monosemantic", "mono_low", "mono_high"]
].round(3)

# %%
result.plot()

# %% [markdown]
# *Several concepts* is what random directions get as often as neurons, heads and latents, or more often: **that verdict
# alone is no finding**, only how far below them a kind of unit lies. Heads of random weights, which attend nearly
# evenly, get it less often than those of the trained model. *One concept* is rare everywhere.
#
# ## What the audit would see
#
# Latents of one concept, mixed so that the number of concepts is known; `ratio` is the strength of each concept as a
# share of the one before. The first row, of one concept, is the rate of false alarms.

# %%
result.tables["power"].query("status == 'ok'")[
    ["n_concepts", "ratio", "detected", "n", "rate", "ci_low", "ci_high", "seed", "status"]
]

# %% [markdown]
# ## Latents with one concept
#
# The view that says so, and what the unit is on at in it.

# %%
views = result.tables["views"]
one = views[(views["condition"] == "trained") & (views["says"] == "one") & views["unit"].str.contains("F")]
one[["unit", "view", "K", "share", "alike", "null_mean", "null_sd", "p", "n", "clusters"]].head(8)

# %% [markdown]
# ## Limits
#
# - Several clusters in every view need not be several concepts: one that none of the views shows would look so too. The
#   rate at random directions says how much of the verdict the texts alone can make.
# - A concept below a tenth of the largest activation, or in less than 5 % of the examples, is not seen.
# - Sixty units give wide intervals: at one half, 95 % is from .38 to .62.
# - The bundled model is small and its texts are generated: shares of other models will differ.

# %%
print(shares["share"].unstack("condition").round(2))
assert shares.loc[("head", "random weights"), "q"] < 0.05
assert shares.loc[("latent", "random directions"), "share"] >= shares.loc[("latent", "trained"), "share"]
