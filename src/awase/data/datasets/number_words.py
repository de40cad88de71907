"""The digits in words: five languages, five phrases each."""

WORDS: dict[str, tuple[str, ...]] = {
    "english": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "german": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    "french": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "spanish": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "japanese": ("れい", "いち", "に", "さん", "よん", "ご", "ろく", "なな", "はち", "きゅう"),
}

# French has no bare word: "six" is English too, and the same text could then be in two splits.
PHRASES: dict[str, tuple[str, ...]] = {
    "english": ("{}", "the number {}", "it says {}", "{} is written here", "my digit is {}"),
    "german": ("{}", "die Zahl {}", "hier steht {}", "{} steht dort", "meine Ziffer ist {}"),
    "french": ("voici {}", "le nombre {}", "on lit {}", "{} est écrit ici", "mon chiffre est {}"),
    "spanish": ("{}", "el número {}", "aquí dice {}", "{} está escrito", "mi cifra es {}"),
    "japanese": ("{}", "すうじ の {}", "これ は {}", "{} と かく", "こたえ は {}"),
}


def phrase(language: str, number: int, digit: int) -> str:
    """Returns phrase `number` of a language about a digit."""
    return PHRASES[language][number].format(WORDS[language][digit])
