# %% [markdown]
# # What do the attention layers move, and why?
#
# **Question.** Which heads repeat what came before, from where does each head move what it moves, and what are the SAE
# latents of an attention layer *for*?
#
# **Method.** Head scores on random tokens that repeat with random period, beside fresh tokens and random weights;
# relation profiles of the heads on text; and a family for each latent, decided by a rule from direct feature
# attribution (which source tokens a latent owes its activation to) and from how much context it needs, never by reading
# examples.
#
# After Olsson et al. (2022) and Kissane et al. (2024). Smaller here than in `interp run attention`: two head scores,
# two layers, 160 texts beside 24 rows of random tokens that repeat (rows without repeats can show no induction).

# %%
from itertools import islice

import pandas as pd

import interp
from analyses.attention import classify_feature_families, head_scores, relation_profile
from analyses.attention.token_rows import joined, random_repeats, token_rows
from interp.plot import ranked_panel

model = interp.load_model("atlas")
twin = interp.load_model("atlas", weights="random")
texts = [text.text for text in islice(interp.atlas.facts().texts(1), 160)]
rows = joined(token_rows(model, texts, max_length=64), random_repeats(model, 24, length=64, seed=0).repeated)

# %% [markdown]
# ## Heads that repeat
#
# `induction`: attention from a token to what followed its last occurrence. `null_mean` is the same places in rows where
# nothing repeats, `largest_random` the largest of any head of the random-weights twin.

# %%
heads = head_scores(model, seed=0, scores=("previous token", "induction"), twin=twin, n_rows=16, n_boot=200)
columns = ["score", "layer", "head", "value", "ci_low", "ci_high", "null_mean", "random_weights", "largest_random", "n"]
heads.nlargest(6, "value")[columns].round(3)

# %%
induction = heads[heads["score"] == "induction"].reset_index(drop=True)
ax = ranked_panel(
    [f"{layer}.{head}" for layer, head in zip(induction["layer"], induction["head"], strict=True)],
    induction["value"],
    low=induction["ci_low"],
    high=induction["ci_high"],
    null=induction["largest_random"],
    null_label="largest of any head, random weights",
    xlabel="induction score (head, layer.head)",
    n=int(induction["n"].iloc[0]),
    top=10,
)
ax.figure

# %% [markdown]
# Induction takes two layers: a head that looks one token back, and behind it one that uses what the first has written.
# Here the first is in layer 0 and the second in layer 1.
#
# ## From where heads move on text
#
# The share of what a head moves (attention times length of the value) by relation of source and query, BOS left out;
# `lift` is against even attention, `random_weights` the same head of the twin. Here the heads that move most from
# tokens like this one, from behind them, or from just before:

# %%
profile = relation_profile(model, rows, seed=0, layers=[0, 1], twin=twin, n_boot=50)
shown = ["layer", "index", "relation", "share", "ci_low", "ci_high", "uniform", "lift", "random_weights", "n_eff", "n"]
profile[profile["relation"].isin(["duplicate", "induction", "previous"])].nlargest(6, "share")[shown].round(3)

# %% [markdown]
# ## What latents are for
#
# The SAEs read the concatenated head outputs of layers 1 and 2. The control is an SAE trained on the twin, whose
# "families" are what the rule finds where nothing was learned.

# %%
readers = {
    "trained, layer 1": (model, interp.load_sae("atlas/z.1")),
    "trained, layer 2": (model, interp.load_sae("atlas/z.2")),
    "random weights, layer 2": (twin, interp.load_sae("atlas-random/z.2")),
}
latents = {
    name: classify_feature_families(reader, sae, rows, seed=0, n_boot=20, n_positions=40)
    for name, (reader, sae) in readers.items()
}

# %%
families = pd.DataFrame({name: table["family"].value_counts() for name, table in latents.items()}).fillna(0).astype(int)
families.sort_values("trained, layer 1", ascending=False)

# %%
columns = ["latent", "family", "confidence", "share_induction", "induction_auc", "n", "n_rows", "reason"]
latents["trained, layer 1"].query("family == 'induction'").nlargest(4, "share_induction")[columns]

# %% [markdown]
# ## Limits
#
# - Attribution explains the activation before the competition among latents, with the attention patterns held fixed:
#   why a head attends there is not in it.
# - Relations are literal: a translation or a rhyme counts as *other*. `undecided` says how far the rule reaches.
# - *Local context* and *token/position* are common with random weights too: only what exceeds the control was learned.

# %%
best = induction.loc[induction["value"].idxmax()]
print(f"head {best['layer']}.{best['head']}: {best['value']:.2f}, random weights {best['largest_random']:.2f} at most")
assert best["layer"] == 1
assert best["value"] > 0.8 > 0.1 > best["largest_random"]
assert families.loc["induction", "trained, layer 1"] > 10 > families.loc["induction", "random weights, layer 2"]
