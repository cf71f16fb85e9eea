from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.template import MissingVariableError, TemplateError, lacking, parse, render, variables

ANN = {"first_name": "Ann", "tier": 3, "vip": True, "note": " ", "nothing": None}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Hello", "Hello"),
        ("Hi {{first_name}}!", "Hi Ann!"),
        ("Hi {{ first_name }}!", "Hi Ann!"),
        ("{{first_name}}{{first_name}}", "AnnAnn"),
        ("Tier {{tier}}, vip {{vip}}", "Tier 3, vip true"),
        ("Hi {{last_name|there}}", "Hi there"),
        ("Hi {{note|there}}", "Hi there"),
        ("Hi {{nothing|}}.", "Hi ."),
        ("Hi {{first_name|there}}", "Hi Ann"),
        ("{curly} {{first_name}} }", "{curly} Ann }"),
        ("{{first_name|a|b}}", "Ann"),
        ("{{last_name|a|b}}", "a|b"),
    ],
)
def test_a_message_is_rendered_for_a_contact(template: str, message: str) -> None:
    assert render(template, ANN) == message


@pytest.mark.parametrize("name", ["last_name", "note", "nothing"])
def test_a_message_with_a_hole_is_not_rendered(name: str) -> None:
    with pytest.raises(MissingVariableError, match=name):
        render(f"Hi {{{{{name}}}}}", ANN)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("Hi {{first_name", "at character 4: '{{' is not closed"),
        ("Hi {{first_name}", "at character 4: '{{' is not closed"),
        ("Hi {{a {{b}}", "at character 4: '{{' is not closed"),
        ("Hi first_name}}", "at character 14: '}}' closes nothing"),
        ("Hi {{}}", "at character 4: a variable has no name"),
        ("Hi {{ |there}}", "at character 4: a variable has no name"),
        ("Hi {{a{b}}", "at character 4: the variable 'a{b' has a brace"),
    ],
)
def test_a_message_that_cannot_be_read_tells_where(template: str, told: str) -> None:
    with pytest.raises(TemplateError) as refused:
        parse(template)

    assert str(refused.value).startswith(told)


def test_only_variables_without_a_default_are_required() -> None:
    assert variables("{{a}} {{b|x}} {{c}} {{a}} {{d|}}") == ("a", "c")


def test_what_a_contact_lacks_is_named() -> None:
    assert lacking(("first_name", "note", "last_name"), ANN) == "note"
    assert lacking(("first_name", "tier"), ANN) is None


@given(value=st.text())
def test_what_a_variable_says_is_never_read_as_a_template(value: str) -> None:
    assert render("{{x|y}}", {"x": f"{{{{z}}}}{value}"}) == f"{{{{z}}}}{value}".strip()


@given(template=st.text("{}|ab ", max_size=30))
def test_any_text_is_a_message_or_refused(template: str) -> None:
    with suppress(TemplateError):
        assert "{{" not in render(template, dict.fromkeys(variables(template), "x"))
