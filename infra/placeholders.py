"""Secrets that nobody chose: the text of an example, or a key held down. Whoever knows the example knows them."""

LEAST_DISTINCT = 8
# Long enough to stand in no random text by chance. Spaces, dashes and the like between their parts count for nothing.
EXAMPLES = (
    "changeme", "changethis", "changeit", "replaceme", "replacethis", "placeholder", "insertsecret", "yoursecret",
    "yourjwtsecret", "yourkey", "supersecret", "secretkey", "password", "example", "notasecret", "abcdefghij",
    "0123456789",
)  # fmt: skip


def placeholder_problem(secret: str) -> str | None:
    """Why this is nobody's secret, without a word of it; None when it may well be one."""
    bare = "".join(character for character in secret.lower() if character.isalnum())
    if any(example in bare for example in EXAMPLES):
        return "is the text of an example"
    if len(set(secret)) < LEAST_DISTINCT:
        return f"has fewer than {LEAST_DISTINCT} different characters"
    if secret in (secret + secret)[1:-1]:
        return "is one text again and again"
    return None
