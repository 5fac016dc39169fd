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
        _words("""first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
            fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"""),
        False,
    ),
    "roman numerals": ([roman(n) for n in range(1, 31)], False),
    "years": ([str(n) for n in range(1900, 2031)], False),
}

# every table runs roughly from common to rare words: the generators draw by Zipf's law over its order
_PLURALS = """man men|woman women|child children|day days|house houses|hand hands|eye eyes|city cities|book books|
country countries|car cars|friend friends|girl girls|boy boys|door doors|dog dogs|cat cats|tree trees|table tables|
street streets|story stories|letter letters|family families|foot feet|baby babies|horse horses|bird birds|
fish fish|box boxes|glass glasses|river rivers|road roads|garden gardens|tooth teeth|party parties|king kings|
queen queens|ship ships|boat boats|train trains|bus buses|key keys|cup cups|bottle bottles|chair chairs|
window windows|bridge bridges|apple apples|egg eggs|leaf leaves|life lives|knife knives|wife wives|song songs|
shoe shoes|hat hats|dress dresses|coat coats|lady ladies|church churches|watch watches|class classes|cow cows|
sheep sheep|mouse mice|pig pigs|duck ducks|goat goats|goose geese|bear bears|lion lions|wolf wolves|fox foxes|
star stars|cloud clouds|flower flowers|mountain mountains|island islands|farm farms|cake cakes|clock clocks|
lamp lamps|pen pens|coin coins|toy toys|dish dishes|potato potatoes|tomato tomatoes|monkey monkeys|tiger tigers|
elephant elephants|berry berries|branch branches|brush brushes|shelf shelves|half halves|hero heroes|
thief thieves|loaf loaves|peach peaches|cherry cherries|puppy puppies|pony ponies|fly flies|butterfly butterflies|
deer deer|ox oxen|engine engines|basket baskets|candle candles|ribbon ribbons"""
_PAST = """go went|come came|see saw|make made|take took|give gave|know knew|think thought|find found|tell told|
say said|get got|look looked|want wanted|use used|work worked|ask asked|call called|try tried|need needed|feel felt|
become became|leave left|keep kept|begin began|show showed|hear heard|play played|run ran|move moved|live lived|
bring brought|write wrote|sit sat|stand stood|lose lost|pay paid|meet met|turn turned|start started|stop stopped|
open opened|close closed|walk walked|talk talked|speak spoke|read read|buy bought|eat ate|drink drank|help helped|
like liked|wait waited|watch watched|follow followed|send sent|build built|stay stayed|fall fell|cut cut|put put|
hold held|win won|understand understood|draw drew|break broke|spend spent|grow grew|drive drove|sell sold|pull pulled|
push pushed|carry carried|catch caught|choose chose|sleep slept|teach taught|throw threw|fly flew|forget forgot|
sing sang|swim swam|ride rode|wear wore|rise rose|fight fought|laugh laughed|jump jumped|dance danced|cook cooked|
wash washed|paint painted|climb climbed|hide hid|hit hit|shut shut|steal stole|blow blew|shake shook|wake woke|bite bit|
dig dug|feed fed|bake baked|freeze froze|tear tore|bend bent|sweep swept|stick stuck"""
# no word that has two good opposites (old: new or young; light: dark or heavy; short: long or tall; ...)
_ANTONYMS = """big small|good bad|hot cold|up down|in out|day night|fast slow|black white|happy sad|high low|
early late|open closed|full empty|true false|rich poor|near far|strong weak|wet dry|clean dirty|always never|
before after|begin end|buy sell|push pull|love hate|win lose|north south|east west|inside outside|above below|
under over|easy difficult|loud quiet|safe dangerous|healthy sick|alive dead|wide narrow|deep shallow|thick thin|
rough smooth|sharp blunt|tight loose|warm cool|wild tame|brave cowardly|ancient modern|first last|top bottom|
give take|remember forget|cheap expensive|friend enemy|peace war|victory defeat|create destroy|
lend borrow|polite rude|public private|float sink"""


def _pairs(table: str) -> list[tuple[str, ...]]:
    return [tuple(entry.split()) for entry in table.replace("\n", "").split("|")]


def _table(text: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for word, answer in _pairs(text):
        if word in table:
            raise ValueError(f"{word!r} has two answers, {table[word]!r} and {answer!r}; keep one of them.")
        table[word] = answer
    return table


def _both_ways(table: dict[str, str]) -> dict[str, str]:
    return _table("|".join(f"{a} {b}|{b} {a}" for a, b in table.items()))


PLURALS = _table(_PLURALS)
PAST_TENSE = _table(_PAST)
ANTONYMS = _both_ways(_table(_ANTONYMS))

# short first names; none is a city of the corpus or a word of another table
PEOPLE = _words("""Anna Ben Tom Emma Sam Kate Jack Lucy Peter Ruth Henry Julia Leo Nina Simon Alice Felix Hannah Oscar
Ella Carl Diana Eric Fiona Hugo Iris Kevin Laura Martin Olivia Noah Paula Ralph Sarah Tina Victor Wendy Adam Bella
Colin Edith Frank George Helen Ivan Jane Karl Molly Nora Otto Polly Rita Sophie Tessa Walter Zoe Amy Bruno Greta
Linda""")
# each of the next three takes "a", never "an"
ANIMALS = _words("""dog cat horse bird cow fish mouse duck pig sheep goat rabbit bear lion fox wolf monkey tiger frog
snake turtle donkey camel zebra parrot""")
THINGS = _words("""book ball key box letter cup hat coin map ring pen lamp cake bag toy bottle flower clock plate basket
kite candle drum ribbon whistle""")
SPOTS = _words("""house school garden park shop river kitchen market road station farm beach forest lake bridge library
museum hotel castle church field bakery tower village meadow""")
FEELINGS = _words("""happy sad tired angry hungry afraid proud calm excited worried bored lonely nervous curious glad
thirsty surprised sleepy cheerful brave shy grateful confused hopeful jealous""")
