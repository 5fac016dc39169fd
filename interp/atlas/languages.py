"""Nouns, adjectives and verbs in four languages, and the grammar that puts them into small sentences.

One meaning (`Meaning`) is rendered in each language from the same tables, so that sentences in two
languages say the same: gender and articles, German cases, French elision, Spanish "el agua" and "al".
Plain tables and pure functions; which word pairs the corpus states is decided in `corpus.languages`.
"""

from __future__ import annotations

from dataclasses import dataclass

FOREIGN: tuple[str, ...] = ("French", "Spanish", "German")
LANGUAGES: tuple[str, ...] = ("English", *FOREIGN)

# English, then word and gender in French, Spanish, German (accusative after ">" where it differs), then the class:
# p person, a animal, o thing to carry, m said with "the" alone, t time or abstract; P: one can be in it.
# One translation a language; roughly from common to rare, because the texts draw by Zipf's law over this order.
_NOUNS = """man homme m hombre m Mann m p|woman femme f mujer f Frau f p|house maison f casa f Haus n mP|
water eau f agua f Wasser n mP|day jour m día m Tag m t|dog chien m perro m Hund m a|cat chat m gato m Katze f a|
child enfant m niño m Kind n p|night nuit f noche f Nacht f t|book livre m libro m Buch n o|
friend ami m amigo m Freund m p|mother mère f madre f Mutter f p|father père m padre m Vater m p|
hand main f mano f Hand f m|eye œil m ojo m Auge n m|head tête f cabeza f Kopf m m|city ville f ciudad f Stadt f mP|
school école f escuela f Schule f mP|tree arbre m árbol m Baum m m|car voiture f coche m Auto n mP|
sun soleil m sol m Sonne f m|moon lune f luna f Mond m m|door porte f puerta f Tür f m|table table f mesa f Tisch m o|
street rue f calle f Straße f m|bread pain m pan m Brot n m|milk lait m leche f Milch f m|
bird oiseau m pájaro m Vogel m a|horse cheval m caballo m Pferd n a|fish poisson m pez m Fisch m a|
boy garçon m chico m Junge>Jungen m p|girl fille f chica f Mädchen n p|brother frère m hermano m Bruder m p|
sister sœur f hermana f Schwester f p|king roi m rey m König m p|queen reine f reina f Königin f p|
son fils m hijo m Sohn m p|garden jardin m jardín m Garten m mP|kitchen cuisine f cocina f Küche f mP|
church église f iglesia f Kirche f mP|forest forêt f bosque m Wald m mP|river rivière f río m Fluss m mP|
sea mer f mar m Meer n mP|mountain montagne f montaña f Berg m m|sky ciel m cielo m Himmel m m|
window fenêtre f ventana f Fenster n m|bridge pont m puente m Brücke f m|bed lit m cama f Bett n o|
chair chaise f silla f Stuhl m o|key clé f llave f Schlüssel m o|box boîte f caja f Kiste f oP|
letter lettre f carta f Brief m o|hat chapeau m sombrero m Hut m o|shoe chaussure f zapato m Schuh m o|
shirt chemise f camisa f Hemd n o|cup tasse f taza f Tasse f o|glass verre m vaso m Glas n o|
bottle bouteille f botella f Flasche f o|knife couteau m cuchillo m Messer n o|plate assiette f plato m Teller m o|
train train m tren m Zug m mP|ship navire m barco m Schiff n m|heart cœur m corazón m Herz n m|
ear oreille f oreja f Ohr n m|nose nez m nariz f Nase f m|mouth bouche f boca f Mund m m|foot pied m pie m Fuß m m|
arm bras m brazo m Arm m m|leg jambe f pierna f Bein n m|apple pomme f manzana f Apfel m o|egg œuf m huevo m Ei n o|
cheese fromage m queso m Käse m m|meat viande f carne f Fleisch n m|salt sel m sal f Salz n m|
coffee café m café m Kaffee m m|wine vin m vino m Wein m m|flower fleur f flor f Blume f o|
fire feu m fuego m Feuer n m|rain pluie f lluvia f Regen m m|snow neige f nieve f Schnee m m|
wind vent m viento m Wind m m|winter hiver m invierno m Winter m t|summer été m verano m Sommer m t|
week semaine f semana f Woche f t|month mois m mes m Monat m t|morning matin m mañana f Morgen m t|
life vie f vida f Leben n t|war guerre f guerra f Krieg m t|peace paix f paz f Frieden m t|cow vache f vaca f Kuh f a|
pig cochon m cerdo m Schwein n a|sheep mouton m oveja f Schaf n a|goat chèvre f cabra f Ziege f a|
duck canard m pato m Ente f a|mouse souris f ratón m Maus f a|wolf loup m lobo m Wolf m a|
fox renard m zorro m Fuchs m a|bear ours m oso m Bär>Bären m a|lion lion m león m Löwe>Löwen m a|
village village m pueblo m Dorf n mP|park parc m parque m Park m mP|hotel hôtel m hotel m Hotel n mP|
castle château m castillo m Schloss n mP|hospital hôpital m hospital m Krankenhaus n mP|lake lac m lago m See m mP|
island île f isla f Insel f m|beach plage f playa f Strand m m|star étoile f estrella f Stern m m|
stone pierre f piedra f Stein m o|leaf feuille f hoja f Blatt n o|grass herbe f hierba f Gras n m|
doctor médecin m médico m Arzt m p|teacher professeur m profesor m Lehrer m p|
soldier soldat m soldado m Soldat>Soldaten m p|lamp lampe f lámpara f Lampe f o|clock horloge f reloj m Uhr f o|
bag sac m bolsa f Tasche f oP|dress robe f vestido m Kleid n o|coat manteau m abrigo m Mantel m o|
song chanson f canción f Lied n m|word mot m palabra f Wort n m|money argent m dinero m Geld n m|
gold or m oro m Gold n m|eagle aigle m águila f Adler m a|monkey singe m mono m Affe>Affen m a|
elephant éléphant m elefante m Elefant>Elefanten m a|rabbit lapin m conejo m Kaninchen n a|
snake serpent m serpiente f Schlange f a|bee abeille f abeja f Biene f a|rice riz m arroz m Reis m m|
tea thé m té m Tee m m|tomato tomate f tomate m Tomate f o|lemon citron m limón m Zitrone f o|
onion oignon m cebolla f Zwiebel f o"""
# English, French m. and f., Spanish m. and f., Spanish "to be", German, classes of nouns it is said of
_ADJECTIVES = """big grand grande grande grande es groß pao|small petit petite pequeño pequeña es klein pao|
good bon bonne bueno buena es gut paot|new nouveau nouvelle nuevo nueva es neu om|
old vieux vieille viejo vieja es alt pao|red rouge rouge rojo roja es rot om|
white blanc blanche blanco blanca es weiß aom|black noir noire negro negra es schwarz aom|
blue bleu bleue azul azul es blau om|green vert verte verde verde es grün om|long long longue largo larga es lang ot|
beautiful beau belle hermoso hermosa es schön paomt|cold froid froide frío fría está kalt om|
strong fort forte fuerte fuerte es stark pa|clean propre propre limpio limpia está sauber paom|
yellow jaune jaune amarillo amarilla es gelb om|heavy lourd lourde pesado pesada es schwer ao|
expensive cher chère caro cara es teuer o|wet mouillé mouillée mojado mojada está nass pao"""
# English, French, Spanish, German, each in the third person singular with a direct object; classes of its
# subjects and of its objects
_VERBS = """sees voit ve sieht pa paom|finds trouve encuentra findet pa paom|loves aime ama liebt pa paom|
looks_for cherche busca sucht pa paom|hears entend oye hört pa pa|touches touche toca berührt pa pao|
draws dessine dibuja zeichnet p paom|carries porte lleva trägt p o"""

# A sentence of each pattern in each language; the fields are filled by `_pieces`.
_TEMPLATES = {
    "adjective": (
        "{the} is {adjective}.", "{the} est {adjective}.", "{the} {to_be} {adjective}.", "{the} ist {adjective}."
    ),
    "verb": ("{the} {verb} {object}.",) * 4,
    "place": ("{the} is {within}.", "{the} est {within}.", "{the} está {within}.", "{the} ist {within}."),
    "there is": (
        "There is {one} {within}.", "Il y a {one} {within}.", "Hay {one} {within}.", "Es gibt {one} {within}."
    ),
    "have": ("I have {one}.", "J'ai {one}.", "Tengo {one}.", "Ich habe {one}."),
    "where": ("Where is {the}?", "Où est {the} ?", "¿Dónde está {the}?", "Wo ist {the}?"),
    "see": ("I see {seen}.", "Je vois {seen}.", "Veo {seen}.", "Ich sehe {seen}."),
    "both": (
        "{the} and {other} are {within}.", "{the} et {other} sont {within}.", "{the} y {other} están {within}.",
        "{the} und {other} sind {within}.",
    ),
}  # fmt: skip

_VOWELS = "aeiouéèêàâîïôûœh"  # with h: no French noun of the table has an aspirated one
_STRESSED_A = ("agua", "águila")  # feminine nouns of the table that take "el" and "un"
_DER = {"m": "der", "f": "die", "n": "das"}
_EINEN = {"m": "einen", "f": "eine", "n": "ein"}  # accusative
_IN = {"English": "in", "French": "dans", "Spanish": "en"}


@dataclass(frozen=True)
class Noun:
    """A noun in four languages."""

    words: dict[str, str]
    """Language -> the noun as a dictionary gives it."""
    gender: dict[str, str]
    """Foreign language -> "m", "f" or "n"."""
    accusative: str
    """The German accusative, which is the nominative but for weak nouns."""
    kind: str
    """p person, a animal, o thing to carry, m said with "the" alone, t time or abstract."""
    place: bool
    """Whether something can be in it."""


@dataclass(frozen=True)
class Adjective:
    """An adjective as it stands after "is"."""

    forms: dict[str, dict[str, str]]
    """Language -> gender -> form."""
    to_be: str
    """The Spanish "is" that goes with it."""
    kinds: str
    """Classes of nouns that it is said of."""


@dataclass(frozen=True)
class Verb:
    """A verb in the third person singular, with a direct object."""

    forms: dict[str, str]
    """Language -> form."""
    subjects: str
    objects: str
    """Classes of nouns."""


@dataclass(frozen=True)
class Meaning:
    """What a sentence says, in no language yet; a pattern reads only the parts that it has."""

    pattern: str
    """One of `PATTERNS`."""
    noun: Noun
    other: Noun | None = None
    """Object of "verb", second subject of "both"."""
    place: Noun | None = None
    adjective: Adjective | None = None
    verb: Verb | None = None


def _rows(table: str) -> list[list[str]]:
    return [row.split() for row in table.replace("\n", "").split("|")]


def _noun(row: list[str]) -> Noun:
    en, fr, fr_gender, es, es_gender, de, de_gender, kind = row
    nominative, _, weak = de.partition(">")
    words = dict(zip(LANGUAGES, (en, fr, es, nominative), strict=True))
    gender = dict(zip(FOREIGN, (fr_gender, es_gender, de_gender), strict=True))
    return Noun(words, gender, weak or nominative, kind[0], kind.endswith("P"))


def _adjective(row: list[str]) -> Adjective:
    en, fr_m, fr_f, es_m, es_f, to_be, de, kinds = row
    forms = {
        "English": dict.fromkeys("mfn", en), "French": {"m": fr_m, "f": fr_f}, "Spanish": {"m": es_m, "f": es_f},
        "German": dict.fromkeys("mfn", de),
    }  # fmt: skip
    return Adjective(forms, to_be, kinds)


def _verb(row: list[str]) -> Verb:
    forms = dict(zip(LANGUAGES, (form.replace("_", " ") for form in row[:4]), strict=True))
    return Verb(forms, row[4], row[5])


NOUNS = tuple(_noun(row) for row in _rows(_NOUNS))
ADJECTIVES = tuple(_adjective(row) for row in _rows(_ADJECTIVES))
VERBS = tuple(_verb(row) for row in _rows(_VERBS))
PATTERNS = tuple(_TEMPLATES)
_ORDER = {language: i for i, language in enumerate(LANGUAGES)}


def _citations() -> list[dict[str, str]]:
    """Return language -> word of every noun and adjective; the adjectives spread evenly among the nouns."""
    nouns = [(i / len(NOUNS), noun.words) for i, noun in enumerate(NOUNS)]
    adjectives = [
        ((i + 0.5) / len(ADJECTIVES), {language: forms["m"] for language, forms in adjective.forms.items()})
        for i, adjective in enumerate(ADJECTIVES)
    ]
    return [words for _, words in sorted(nouns + adjectives, key=lambda entry: entry[0])]


TRANSLATIONS: dict[str, dict[str, str]] = {
    words["English"]: {language: words[language] for language in FOREIGN} for words in _citations()
}
"""English noun or adjective -> language -> its one translation, from common to rare."""


def definite(noun: Noun, language: str) -> str:
    """Return the noun with "the", as the subject of a sentence: "the dog", "l'ami", "el agua", "die Katze".

    Raises:
        KeyError: the language is not one of `LANGUAGES`.
    """
    word = noun.words[language]
    if language == "English":
        return f"the {word}"
    gender = noun.gender[language]
    if language == "French":
        return f"l'{word}" if word[0] in _VOWELS else f"{'le' if gender == 'm' else 'la'} {word}"
    if language == "Spanish":
        return f"{'el' if gender == 'm' or word in _STRESSED_A else 'la'} {word}"
    return f"{_DER[gender]} {word}"


def direct_object(noun: Noun, language: str) -> str:
    """Return the noun with "the" as a direct object: German accusative, Spanish "a" before who is alive.

    Raises:
        KeyError: the language is not one of `LANGUAGES`.
    """
    phrase = definite(noun, language)
    if language == "Spanish" and noun.kind in "pa":
        return f"al {noun.words[language]}" if phrase.startswith("el ") else f"a {phrase}"
    if language == "German":
        return f"den {noun.accusative}" if noun.gender[language] == "m" else phrase
    return phrase


def indefinite(noun: Noun, language: str) -> str:
    """Return the noun with "a", as a direct object: "an apple", "une pomme", "un águila", "einen Hund".

    Raises:
        KeyError: the language is not one of `LANGUAGES`.
    """
    word = noun.words[language]
    if language == "English":
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    gender = noun.gender[language]
    if language == "French":
        return f"{'un' if gender == 'm' else 'une'} {word}"
    if language == "Spanish":
        return f"{'un' if gender == 'm' or word in _STRESSED_A else 'una'} {word}"
    return f"{_EINEN[gender]} {noun.accusative}"


def within(place: Noun, language: str) -> str:
    """Return "in the ..." of a place: "in the house", "dans l'eau", "en el agua", "im Garten", "in der Küche".

    Raises:
        KeyError: the language is not one of `LANGUAGES`.
    """
    if language == "German":
        return f"{'in der' if place.gender[language] == 'f' else 'im'} {place.words[language]}"
    return f"{_IN[language]} {definite(place, language)}"


def _pieces(meaning: Meaning, language: str) -> dict[str, str]:
    noun, adjective = meaning.noun, meaning.adjective
    pieces = {"the": definite(noun, language), "one": indefinite(noun, language), "seen": direct_object(noun, language)}
    if meaning.other is not None:
        pieces["other"] = definite(meaning.other, language)
        pieces["object"] = direct_object(meaning.other, language)
    if meaning.place is not None:
        pieces["within"] = within(meaning.place, language)
    if adjective is not None:
        pieces["adjective"] = adjective.forms[language][noun.gender.get(language, "m")]
        pieces["to_be"] = adjective.to_be
    if meaning.verb is not None:
        pieces["verb"] = meaning.verb.forms[language]
    return pieces


def render(meaning: Meaning, language: str) -> str:
    """Return the sentence of a meaning in a language, e.g. "Der Hund ist groß." for that the dog is big.

    Raises:
        KeyError: the language is not one of `LANGUAGES`, the pattern is not one of `PATTERNS`, or the meaning
            lacks a part that its pattern names.
    """
    sentence = _TEMPLATES[meaning.pattern][_ORDER[language]].format(**_pieces(meaning, language))
    return sentence[0].upper() + sentence[1:]
