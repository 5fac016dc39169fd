"""A transformer of two layers whose heads do what is written here, and a z-SAE whose latents are known.

Weights are set by hand: one-hot tokens and positions, a buffer that holds the token before, and for each head one
role. So every detector of heads and of latents can be asked a question whose answer is known:

    0.0 previous token (fills the buffer)   0.1 current token        0.2 first position (the BOS sink)
    0.3 nothing: even attention             0.4, 0.5 as 0.3
    1.0 induction                           1.1 duplicate token      1.2 first content token
    1.3 two roles: induction after three fifths of the words, the token before after the others
    1.4 successor (reads itself, writes the next word of its class)  1.5 even attention: the topic of the text

`planted_suppressor` has heads of other roles in layer 1, the first of which takes back what is predicted.
The SAE at z.1 has one latent a head and word, one a topic, some that are always on and some that never are.
A head that finds nothing rests on BOS, whose value is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from interp.models import Model, load_model

if TYPE_CHECKING:
    from interp.sae import SAE

N_CTX, N_HEADS, N_TOPICS, N_EXTRA = 48, 6, 3, 6
CLASSES = {
    "numbers": "one two three four five six".split(),
    "days": "monday tuesday wednesday thursday friday saturday".split(),
}
_PLAIN = [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no") for b in ("la", "mi", "ne", "tu")]
WORDS = [*CLASSES["numbers"], *CLASSES["days"], *_PLAIN]
BOS, PAD, FIRST = 0, 1, 2
VOCAB = FIRST + len(WORDS)
D_HEAD = VOCAB + N_CTX
D_MODEL = N_HEADS * D_HEAD
TOK, POS, PREV, OUT = 0, VOCAB, VOCAB + N_CTX, 2 * VOCAB + N_CTX  # where each part of the residual stream begins
BEFORE = 3 * VOCAB + N_CTX  # a buffer of the token two places back, in `planted_suppressor` alone
_SHARP = 40.0  # a match beats the sink by half of this in nats
_HEADS = ("induction", "duplicate", "first content", "induction and previous", "successor", "topic")
_FAMILIES = ("induction", "duplicate", "long-range context", "mixed", "token/position")
_ON = 0.2  # attention that a latent needs to be on


@dataclass(frozen=True, eq=False)
class PlantedAttention:
    """The model, its SAE at z.1 and what is true of both."""

    model: Model
    sae: SAE
    heads: pd.DataFrame
    """layer, head, role, n_roles (0: it looks everywhere)."""
    latents: pd.DataFrame
    """latent, head (-1: none), word, family."""

    @property
    def successors(self) -> dict[str, list[tuple[str, str]]]:
        """Class of words -> (word, next word)."""
        return {name: list(pairwise(words)) for name, words in CLASSES.items()}

    def rows(self, n: int, *, seed: int) -> np.ndarray:
        """Return ids, int64 [n, 48]: BOS and, in turn, a text on one topic or a random segment over and over."""
        rng = np.random.default_rng(seed)
        return np.stack([_topic_row(rng) if i % 2 else _repeat_row(rng) for i in range(n)])


def planted_layer() -> PlantedAttention:
    """Return the planted model with its SAE (made in a fraction of a second, the same every time)."""
    model = load_model(_module(), bos="always", tokenizer=_tokenizer())
    sae, latents = _sae(model)
    roles = [(0, h, r, int(r != "even")) for h, r in enumerate(("previous", "current", "first", *["even"] * 3))]
    roles += [(1, h, role, {"induction and previous": 2, "topic": 0}.get(role, 1)) for h, role in enumerate(_HEADS)]
    heads = pd.DataFrame(roles, columns=["layer", "head", "role", "n_roles"])
    return PlantedAttention(model, sae, heads, latents)


@dataclass(frozen=True, eq=False)
class PlantedSuppressor:
    """A model that predicts each token again (head 0.1), and one head of which suppresses copies."""

    model: Model
    heads: pd.DataFrame
    """layer, head, role, suppresses (whether it is a copy suppressor)."""

    def rows(self, n: int, *, seed: int) -> np.ndarray:
        """Return ids as `PlantedAttention.rows`."""
        rng = np.random.default_rng(seed)
        return np.stack([_topic_row(rng) if i % 2 else _repeat_row(rng) for i in range(n)])


def planted_suppressor() -> PlantedSuppressor:
    """Return a model whose head 1.0 attends to words that are predicted and lowers them.

    Its other heads in layer 1: 1.1 raises what follows an earlier copy, 1.2 raises words that are predicted, 1.3 lowers
    the next word of the class and not the word that it attends to, 1.4 does as 1.1 where
    the two last tokens stood before, 1.5 does nothing.
    """
    model = load_model(_module((_SAYS_AGAIN, _SUPPRESSES), ones=(2, 5)), bos="always", tokenizer=_tokenizer())
    roles = ("copy suppression", "induction", "copying", "lowers the next word", "long-prefix induction", "even")
    rows = [(1, head, role, role == "copy suppression") for head, role in enumerate(roles)]
    return PlantedSuppressor(model, pd.DataFrame(rows, columns=["layer", "head", "role", "suppresses"]))


def topic_of(ids: np.ndarray) -> np.ndarray:
    """Return the topic of words by their ids; specials have -1."""
    return np.where(ids >= FIRST, (ids - FIRST) % N_TOPICS, -1)


def _topic_row(rng: np.random.Generator) -> np.ndarray:
    topic, first = rng.integers(N_TOPICS), rng.integers(FIRST, VOCAB)
    others = np.setdiff1d(np.arange(FIRST, VOCAB), [first])  # the first word stands once, so that it is only that
    own = others[topic_of(others) == topic]
    body = np.where(rng.random(N_CTX - 2) < 0.75, rng.choice(own, N_CTX - 2), rng.choice(others, N_CTX - 2))
    return np.concatenate([[BOS, first], body])


def _repeat_row(rng: np.random.Generator) -> np.ndarray:
    period = int(rng.integers(12, 22))
    drawn = rng.choice(VOCAB - FIRST, size=period + 1, replace=False) + FIRST
    return np.concatenate([[BOS], drawn[:1], np.resize(drawn[1:], N_CTX - 2)])


def _module(layers: Any = None, *, ones: tuple[int, int] = (2, 3)) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCAB, n_positions=N_CTX, n_embd=D_MODEL, n_layer=2, n_head=N_HEADS, n_inner=1, bos_token_id=BOS,
        eos_token_id=BOS, pad_token_id=PAD, tie_word_embeddings=False,
    )  # fmt: skip
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        module = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        body: Any = module.transformer
        body.wte.weight[:, TOK : TOK + VOCAB] = torch.eye(VOCAB)
        body.wpe.weight[:, POS : POS + N_CTX] = torch.eye(N_CTX)
        for layer, (block, n) in enumerate(zip(body.h, ones, strict=True)):
            _open_norm(block.ln_1, n)
            for head, plan in enumerate((layers or _LAYERS)[layer]):
                _set_head(block.attn, head, plan)
        body.ln_f.weight.fill_(1.0)
        module.lm_head.weight[:, OUT : OUT + VOCAB] = torch.eye(VOCAB)
    return module


def _open_norm(norm: Any, ones: int) -> None:
    """Make a LayerNorm the identity on vectors of `ones` ones and else zeros."""
    mean = ones / D_MODEL
    norm.weight.fill_(float(np.sqrt(mean - mean**2 + norm.eps)))
    norm.bias.fill_(mean)


@dataclass
class _Head:
    """Maps of the residual stream [D_MODEL, D_HEAD] to query, key and value; a constant query; value to residual."""

    query: torch.Tensor
    key: torch.Tensor
    constant: torch.Tensor
    write: torch.Tensor
    """[VOCAB, VOCAB]: value word -> word in the output part; zero: the head writes nothing."""
    into: int = OUT


def _empty() -> _Head:
    wide = (D_MODEL, D_HEAD)
    return _Head(torch.zeros(wide), torch.zeros(wide), torch.zeros(D_HEAD), torch.zeros(VOCAB, VOCAB))


def _sink(head: _Head, score: float) -> _Head:
    """Give BOS this score whatever the query; the dimension of the BOS word is free in every match."""
    head.key[TOK + BOS, BOS] = 1.0
    head.constant[BOS] = score
    return head


def _match(head: _Head, part: int, words: np.ndarray) -> None:
    for word in words:
        head.query[TOK + word, word] = _SHARP
        head.key[part + word, word] = 1.0


def _look_back(head: _Head, distance: int, score: float) -> None:
    for pos in range(distance, N_CTX):
        head.query[POS + pos, VOCAB + pos - distance] = score
    for pos in range(N_CTX):
        head.key[POS + pos, VOCAB + pos] = 1.0


_ALL = np.arange(FIRST, VOCAB)
_BEFORE = _ALL[_ALL % 5 < 2]  # words after which head 1.3 looks at the token before
_COPY = torch.eye(VOCAB)


def _previous() -> _Head:
    head = _empty()
    _look_back(head, 1, _SHARP)
    head.write, head.into = _COPY.clone(), PREV
    return head


def _current(write: torch.Tensor | None = None) -> _Head:
    head = _empty()
    _look_back(head, 0, _SHARP)
    head.write = head.write if write is None else write
    return head


def _induction() -> _Head:
    head = _sink(_empty(), _SHARP / 2)
    _match(head, PREV, _ALL)
    head.write = _COPY
    return head


def _duplicate() -> _Head:
    head = _sink(_empty(), _SHARP / 2)
    _match(head, TOK, _ALL)
    _look_back(head, 0, -2 * _SHARP)
    head.write = _COPY
    return head


def _first_content() -> _Head:
    head = _sink(_empty(), 0.0)
    head.constant[VOCAB + 1] = _SHARP
    head.key[POS + 1, VOCAB + 1] = 1.0
    head.write = _COPY
    return head


def _two_roles() -> _Head:
    """Induction beats the sink, which beats the token before; only after `_BEFORE` words there is no sink."""
    head = _sink(_empty(), 0.0)
    others = np.setdiff1d(_ALL, _BEFORE)
    _match(head, PREV, others)
    head.query[TOK + others, BOS] = 0.75 * _SHARP
    _look_back(head, 1, 0.5 * _SHARP)
    for pos in range(2, N_CTX):  # the second role is a little blurred, as roles are
        head.query[POS + pos, VOCAB + pos - 2] = 0.5 * _SHARP - 1.5
    head.write = _COPY
    return head


def _successor() -> _Head:
    write = torch.zeros(VOCAB, VOCAB)
    for words in CLASSES.values():
        ids = [FIRST + WORDS.index(word) for word in words]
        write[ids[:-1], ids[1:]] = 1.0
    return _current(write)


def _even() -> _Head:
    return _sink(_empty(), -_SHARP)


def _of_predicted(write: torch.Tensor) -> _Head:
    """Attend to words that are predicted, in the output part, at this point."""
    head = _sink(_empty(), _SHARP / 2)
    for word in _ALL:
        head.query[OUT + word, word] = _SHARP
        head.key[TOK + word, word] = 1.0
    head.write = write
    return head


def _writing(head: _Head, write: torch.Tensor) -> _Head:
    head.write = write
    return head


def _long_prefix() -> _Head:
    """Induction where two tokens match: one alone does not beat the sink."""
    head = _sink(_empty(), 1.5 * _SHARP)
    _match(head, PREV, _ALL)
    for word in _ALL:
        head.query[PREV + word, VOCAB + word] = _SHARP
        head.key[BEFORE + word, VOCAB + word] = 1.0
    head.write = _COPY
    return head


def _two_back() -> _Head:
    head = _empty()
    _look_back(head, 2, _SHARP)
    head.write, head.into = _COPY.clone(), BEFORE
    return head


_SAYS_AGAIN = (_previous(), _current(_COPY), _sink(_empty(), _SHARP), _two_back(), _even(), _even())
_SUPPRESSES = (
    _of_predicted(-_COPY), _induction(), _of_predicted(_COPY), _writing(_successor(), -_successor().write),
    _long_prefix(), _even(),
)  # fmt: skip
_LAYERS = (
    (_previous(), _current(), _sink(_empty(), _SHARP), _even(), _even(), _even()),
    (_induction(), _duplicate(), _first_content(), _two_roles(), _successor(), _even()),
)


def _set_head(attn: Any, head: int, plan: _Head) -> None:
    """Write a head into the joint matrices of GPT-2, whose scores are divided by the root of the head width."""
    at = slice(head * D_HEAD, (head + 1) * D_HEAD)
    query, key, value = (attn.c_attn.weight[:, i * D_MODEL : (i + 1) * D_MODEL] for i in range(3))
    query[:, at] = plan.query * D_HEAD**0.5
    key[:, at] = plan.key
    attn.c_attn.bias[at] = plan.constant * D_HEAD**0.5
    values = torch.eye(VOCAB)
    if plan.into not in (PREV, BEFORE):  # the buffer of the first token holds BOS, so that every vector has three ones
        values[BOS] = 0.0
    value[TOK : TOK + VOCAB, head * D_HEAD : head * D_HEAD + VOCAB] = values
    attn.c_proj.weight[head * D_HEAD : head * D_HEAD + VOCAB, plan.into : plan.into + VOCAB] = plan.write


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {"<s>": BOS, "<pad>": PAD, **{word: FIRST + i for i, word in enumerate(WORDS)}}
    backend = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", unk_token="<pad>")


def _sae(model: Model) -> tuple[SAE, pd.DataFrame]:
    from interp.sae import SaeConfig, StandardSAE

    rows: list[tuple[int, str, str]] = []
    directions: list[torch.Tensor] = []
    for head, family in enumerate(_FAMILIES):
        for word in _ALL:
            directions.append(_direction(head, np.array([word])))
            rows.append((head, WORDS[word - FIRST], family))
    for topic in range(N_TOPICS):
        directions.append(_direction(5, _ALL[topic_of(_ALL) == topic]))
        rows.append((5, f"topic {topic}", "long-range context"))
    n_real = len(rows)
    rows += [(-1, "", "no-DFA")] * N_EXTRA + [(-1, "", "dead")] * N_EXTRA
    unused = torch.eye(D_MODEL)[D_HEAD - 2 * N_EXTRA : D_HEAD]  # dimensions of a value that nothing writes to
    W_dec = torch.stack([*directions, *unused])
    W_enc, b_enc = W_dec.T.clone(), torch.full((len(rows),), -_ON)
    b_enc[n_real - N_TOPICS : n_real] = -0.45 / len(_ALL[topic_of(_ALL) == 0]) ** 0.5
    W_enc[:, n_real:] = 0.0
    b_enc[n_real : n_real + N_EXTRA], b_enc[n_real + N_EXTRA :] = 0.1, -1.0
    config = SaeConfig(
        architecture="standard", activation="relu", d_in=D_MODEL, d_sae=len(rows), k=None, apply_b_dec_to_input=True,
        normalize_activations="none", input_scale=1.0, decoder_norm="unit", rescale_acts_by_decoder_norm=False,
        site="z.1", hook_name="blocks.1.attn.hook_z", model_name=model.name, model_fingerprint=model.fingerprint,
        bos="always", context_size=N_CTX, dtype="float32", n_heads=N_HEADS,
    )  # fmt: skip
    sae = StandardSAE(config, {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": torch.zeros(D_MODEL)})
    table = pd.DataFrame(rows, columns=["head", "word", "family"])
    return sae, table.assign(latent=np.arange(len(rows))).loc[:, ["latent", "head", "word", "family"]]


def _direction(head: int, words: np.ndarray) -> torch.Tensor:
    row = torch.zeros(D_MODEL)
    row[head * D_HEAD + words] = float(len(words) ** -0.5)
    return row
