"""The words by which people ask, in a reply, to be left alone or to be written to again: data, by language.

English ones are those that 47 CFR 64.1200(a)(10) and the CTIA's Messaging Principles name, and what people write
instead of them. All languages hold for everybody: nobody knows in which one somebody is going to answer.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplyWords:
    """A word here is a whole reply; case, accents, blanks and punctuation do not matter. `yes` is no word of `start`:
    it answers too many questions.
    """

    language: str
    stop: tuple[str, ...]
    start: tuple[str, ...] = ()


REPLY_WORDS: tuple[ReplyWords, ...] = (
    ReplyWords(
        "en",
        (
            "stop", "stop all", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe", "unsubscribe me",
            "please stop", "stop please", "stop it", "stop now", "stop texting", "stop texting me", "stop messaging me",
            "please stop texting me", "do not text me", "don't text me", "dont text", "no more texts",
            "no more messages", "remove", "remove me", "please remove me", "take me off", "take me off your list",
            "opt me out", "leave me alone",
        ),
        ("start", "unstop", "opt in", "resubscribe", "subscribe"),
    ),
    ReplyWords(
        "es",
        ("alto", "parar", "para", "pare", "basta", "baja", "darme de baja", "cancelar", "detener", "eliminar",
         "no más mensajes", "no más"),
        ("iniciar", "comenzar", "alta", "suscribir"),
    ),
    ReplyWords(
        "fr",
        ("arrêt", "arrêter", "arrêtez", "stopper", "désabonner", "me désabonner", "désabonnement", "désinscrire",
         "désinscription", "annuler", "stop sms"),
        ("démarrer", "reprendre", "réabonner"),
    ),
    ReplyWords(
        "de",
        ("stopp", "ende", "abmelden", "abbestellen", "austragen", "aufhören", "abbrechen", "keine sms mehr",
         "keine nachrichten mehr"),
        ("anmelden",),
    ),
    ReplyWords("pt", ("parar", "pare", "sair", "cancelar", "remover", "descadastrar", "sem mais mensagens"),
               ("iniciar", "começar", "voltar")),
    ReplyWords("it", ("basta", "ferma", "fermare", "cancella", "cancellami", "annulla", "disiscrivi", "disiscrivimi"),
               ("inizia", "iscrivimi")),
    ReplyWords("nl", ("stoppen", "afmelden", "uitschrijven", "einde"), ("aanmelden",)),
    ReplyWords("da", ("afmeld", "frameld", "slut"), ("tilmeld",)),
    ReplyWords("sv", ("stopp", "sluta", "avsluta", "avregistrera"), ("starta",)),
    ReplyWords("nb", ("stopp", "avslutt", "avmeld", "slutt")),
    ReplyWords("fi", ("lopeta", "peruuta"), ("aloita",)),
    ReplyWords("pl", ("rezygnuję", "koniec", "wypisz", "wypisz mnie", "anuluj")),
    ReplyWords("cs", ("konec", "zrušit", "odhlásit")),
    ReplyWords("tr", ("dur", "durdur", "iptal"), ("başla", "başlat")),
    ReplyWords("ru", ("стоп", "отписаться", "отпишите", "отписка", "отмена"), ("старт",)),
    ReplyWords("uk", ("стоп", "відписатися", "скасувати")),
    ReplyWords("ar", ("توقف", "إيقاف", "قف", "إلغاء", "إلغاء الاشتراك"), ("ابدأ",)),
    ReplyWords("he", ("הסר", "הסירו", "הסרה", "עצור")),
    ReplyWords("hi", ("रोकें", "रोको", "बंद करें", "बंद करो")),
    ReplyWords("zh", ("停止", "退订", "退訂", "取消", "取消订阅", "取消訂閱", "td"), ("开始", "開始", "恢复", "恢復")),
    ReplyWords("ja", ("停止", "配信停止", "解除", "ストップ", "中止"), ("開始", "再開")),
    ReplyWords("ko", ("수신거부", "거부", "중지", "정지", "그만"), ("수신동의", "시작")),
    ReplyWords("vi", ("dừng", "hủy", "huỷ", "từ chối")),
    ReplyWords("id", ("berhenti", "batal"), ("mulai",)),
    ReplyWords("tl", ("tigil", "itigil")),
)  # fmt: skip
