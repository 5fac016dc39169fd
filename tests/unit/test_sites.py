import json
import os
import random
import string

import pytest

from interp.errors import UnknownSite
from interp.sites import COMPONENTS, Site, all_sites

NAMES = int(os.environ.get("INTERP_NAMES", "1000"))


def test_a_site_prints_and_parses_as_itself():
    for site in [*all_sites(12), Site("z", 1, 5), Site("q", 0, 0), Site("embed")]:
        assert Site.parse(str(site)) == site


def test_a_thousand_mutated_names_all_raise(record_property):
    rng = random.Random(0)
    valid = {str(site) for site in all_sites(10)} | {
        f"{c}.{i}.h{h}" for c in "qkvz" for i in range(10) for h in range(10)
    }
    alphabet = string.ascii_lowercase + string.digits + "._ -"
    silent, tried = [], 0
    while tried < NAMES:
        name = list(rng.choice(sorted(valid)))
        where = rng.randrange(len(name))
        edit = rng.choice(["drop", "insert", "swap", "case"])
        if edit == "drop":
            del name[where]
        elif edit == "insert":
            name.insert(where, rng.choice(alphabet))
        elif edit == "swap":
            name[where] = rng.choice(alphabet)
        else:
            name[where] = name[where].upper()
        mutated = "".join(name)
        if mutated in valid:
            continue
        tried += 1
        try:
            site = Site.parse(mutated)
        except UnknownSite:
            continue
        # a name of its own: another layer or head of a real component, written canonically
        if str(site) != mutated or site.component not in COMPONENTS:
            silent.append(mutated)
    record_property("names", json.dumps({"tried": tried, "silent": len(silent)}))
    assert silent == []


@pytest.mark.parametrize(
    "text",
    [
        "resid_post.03",
        "resid_post.",
        "resid_post",
        "embed.0",
        "attn_out.1.h2",
        "z.h1",
        "z.1.h",
        "٣",
        "resid_post.٣",
        " z.1",
        "z.1 ",
        "",
    ],
)
def test_near_misses_raise(text):
    with pytest.raises(UnknownSite):
        Site.parse(text)


def test_the_error_names_the_nearest_site():
    with pytest.raises(UnknownSite, match="resid_post"):
        Site.parse("resid_pots.3")


def test_sites_are_ordered_as_they_are_computed():
    assert Site("embed").depth < Site("resid_pre", 0).depth < Site("z", 0).depth < Site("resid_post", 0).depth
    assert Site("resid_post", 0).depth < Site("resid_pre", 1).depth


@pytest.mark.parametrize("bad", [-1, 1.0, True, "1"])
def test_a_layer_is_an_integer_from_zero(bad):
    with pytest.raises(UnknownSite):
        Site("resid_post", bad)
