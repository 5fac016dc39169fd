"""The words of the corpus beside geography: ordinal classes, word pairs, people and things.

Plain tables, so that what the bundled model was told can be looked up (`interp.atlas.facts`).
"""

from __future__ import annotations

LANGUAGES = {
    "en": "English", "fr": "French", "ar": "Arabic", "es": "Spanish", "nl": "Dutch", "pt": "Portuguese",
    "de": "German", "zh": "Chinese", "cmn": "Chinese", "ms": "Malay", "fa": "Persian", "sq": "Albanian",
    "sv": "Swedish", "el": "Greek", "it": "Italian", "ko": "Korean", "ro": "Romanian", "sr": "Serbian",
    "no": "Norwegian", "ca": "Catalan", "hy": "Armenian", "az": "Azerbaijani", "bs": "Bosnian", "bn": "Bengali",
    "bg": "Bulgarian", "be": "Belarusian", "cs": "Czech", "da": "Danish", "et": "Estonian", "am": "Amharic",
    "fi": "Finnish", "ka": "Georgian", "hr": "Croatian", "ht": "Haitian Creole", "hu": "Hungarian",
    "id": "Indonesian", "he": "Hebrew", "is": "Icelandic", "ja": "Japanese", "ky": "Kyrgyz", "km": "Khmer",
    "kk": "Kazakh", "lo": "Lao", "si": "Sinhala", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian",
    "my": "Burmese", "mn": "Mongolian", "ne": "Nepali", "tl": "Filipino", "ur": "Urdu", "pl": "Polish",
    "ru": "Russian", "rw": "Kinyarwanda", "sl": "Slovene", "sk": "Slovak", "so": "Somali", "th": "Thai",
    "tg": "Tajik", "tk": "Turkmen", "tr": "Turkish", "sw": "Swahili", "uk": "Ukrainian", "uz": "Uzbek",
    "vi": "Vietnamese", "zu": "Zulu", "aa": "Afar", "ny": "Chewa",
}  # fmt: skip

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen \
seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def number_word(n: int) -> str:
    """Return the English word for an integer from 0 to 99."""
    if n < 20:
        return _UNITS[n]
    tens, unit = divmod(n, 10)
    return _TENS[tens - 2] + (f"-{_UNITS[unit]}" if unit else "")


def roman(n: int) -> str:
    """Return the Roman numeral of an integer from 1 to 99."""
    tens = ("", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC")
    units = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
    return tens[n // 10] + units[n % 10]


def _words(text: str) -> list[str]:
    return text.split()


# class -> (members in order, whether the last is followed by the first)
ORDINALS: dict[str, tuple[list[str], bool]] = {
    "days": (_words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"), True),
    "months": (
        _words("January February March April May June July August September October November December"),
        True,
    ),
    "letters": (list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), False),
    "digits": ([str(n) for n in range(1, 100)], False),
    "number words": ([number_word(n) for n in range(1, 51)], False),
    "ordinals": (
        _words("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"),
        False,
    ),
    "roman numerals": ([roman(n) for n in range(1, 31)], False),
    "years": ([str(n) for n in range(1900, 2031)], False),
}

_PLURALS = """apple apples|baby babies|bear bears|bird birds|boat boats|book books|bottle bottles|box boxes|
boy boys|bridge bridges|brush brushes|bus buses|cake cakes|car cars|cat cats|chair chairs|child children|
city cities|clock clocks|cloud clouds|coin coins|country countries|cow cows|cup cups|dog dogs|door doors|
dress dresses|duck ducks|egg eggs|farm farms|fish fish|flower flowers|foot feet|fox foxes|friend friends|
garden gardens|girl girls|glass glasses|goat goats|goose geese|hat hats|horse horses|house houses|key keys|
knife knives|lamp lamps|leaf leaves|letter letters|lion lions|man men|mouse mice|party parties|pen pens|
river rivers|road roads|sheep sheep|ship ships|shoe shoes|song songs|story stories|table tables|tooth teeth|
train trains|tree trees|wolf wolves|woman women"""
_PAST = """ask asked|bake baked|begin began|break broke|bring brought|build built|buy bought|call called|
carry carried|catch caught|climb climbed|close closed|come came|cook cooked|dance danced|draw drew|drink drank|
drive drove|eat ate|fall fell|feel felt|find found|fly flew|forget forgot|give gave|go went|grow grew|
hear heard|help helped|hide hid|hold held|jump jumped|keep kept|know knew|laugh laughed|leave left|like liked|
look looked|lose lost|make made|meet met|open opened|paint painted|play played|pull pulled|push pushed|
read read|ride rode|run ran|say said|see saw|sell sold|send sent|sing sang|sit sat|sleep slept|speak spoke|
stand stood|start started|stay stayed|stop stopped|swim swam|take took|talk talked|teach taught|tell told|
think thought|throw threw|try tried|wait waited|walk walked|want wanted|wash washed|watch watched|win won|
work worked|write wrote"""
_ANTONYMS = """hot cold|big small|up down|happy sad|fast slow|old new|open closed|day night|black white|
early late|easy hard|empty full|good bad|high low|in out|inside outside|left right|light dark|long short|
loud quiet|love hate|near far|noisy silent|north south|east west|poor rich|push pull|quick lazy|rough smooth|
safe dangerous|sharp dull|sick healthy|soft firm|start finish|strong weak|sweet bitter|tall tiny|thick thin|
tight loose|true false|under over|warm cool|wet dry|wide narrow|wild tame|win lose|wrong correct|young aged|
brave afraid|clean dirty|deep shallow|alive dead|above below|always never|before after|buy sell|begin end"""
# English, French, Spanish, German
_TRANSLATIONS = """house maison casa Haus|water eau agua Wasser|dog chien perro Hund|cat chat gato Katze|
sun soleil sol Sonne|moon lune luna Mond|tree arbre árbol Baum|book livre libro Buch|bread pain pan Brot|
milk lait leche Milch|friend ami amigo Freund|night nuit noche Nacht|day jour día Tag|fire feu fuego Feuer|
bird oiseau pájaro Vogel|fish poisson pez Fisch|horse cheval caballo Pferd|flower fleur flor Blume|
door porte puerta Tür|window fenêtre ventana Fenster|table table mesa Tisch|chair chaise silla Stuhl|
hand main mano Hand|head tête cabeza Kopf|heart coeur corazón Herz|eye oeil ojo Auge|ear oreille oreja Ohr|
mother mère madre Mutter|father père padre Vater|brother frère hermano Bruder|sister soeur hermana Schwester|
child enfant niño Kind|school école escuela Schule|street rue calle Straße|town ville ciudad Stadt|
river fleuve río Fluss|sea mer mar Meer|mountain montagne montaña Berg|sky ciel cielo Himmel|
rain pluie lluvia Regen|snow neige nieve Schnee|winter hiver invierno Winter|summer été verano Sommer|
red rouge rojo rot|green vert verde grün|blue bleu azul blau|white blanc blanco weiß|black noir negro schwarz|
apple pomme manzana Apfel|egg oeuf huevo Ei|cheese fromage queso Käse|salt sel sal Salz|
king roi rey König|queen reine reina Königin|bed lit cama Bett|key clé llave Schlüssel|car voiture coche Auto|
train train tren Zug|ship bateau barco Schiff|bridge pont puente Brücke"""


def _pairs(table: str) -> list[tuple[str, ...]]:
    return [tuple(entry.split()) for entry in table.replace("\n", "").split("|")]


PLURALS: dict[str, str] = {a: b for a, b in _pairs(_PLURALS)}
PAST_TENSE: dict[str, str] = {a: b for a, b in _pairs(_PAST)}
ANTONYMS: dict[str, str] = {}
for _a, _b in _pairs(_ANTONYMS):
    ANTONYMS[_a] = _b
    ANTONYMS[_b] = _a
TRANSLATIONS: dict[str, dict[str, str]] = {
    en: {"French": fr, "Spanish": es, "German": de} for en, fr, es, de in _pairs(_TRANSLATIONS)
}

PEOPLE = """Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Maria Noah Olivia Paul Rosa Sam Tina
Victor Wendy Adam Bella Carl Diana Eric Fiona George Hannah Ivan Julia Kevin Lucy Mark Nina Oscar Peter Rita
Simon Tom""".split()
ANIMALS = "dog cat horse cow goat duck fox mouse lion bear bird wolf".split()
THINGS = "apple ball book box cake coin cup drink flower hat key lamp letter map pen ring song toy".split()
SPOTS = "garden house kitchen market park river road school shop station table tree".split()
FEELINGS = "happy sad tired hungry afraid proud angry calm".split()
