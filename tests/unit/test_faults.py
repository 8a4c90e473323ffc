"""What is wrong is told by field, value and what is valid, in words for people."""

from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError, field_validator

from gridflex.faults import faults_of, faults_text

ZONED = "an instant with its time zone, such as 2026-11-24T18:00:00Z"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Paint(BaseModel, extra="forbid"):
    colour: Colour = Colour.RED
    litres: Annotated[float, Field(ge=1, lt=20, allow_inf_nan=False)] = 1.0
    coats: int = 1
    dries_in: timedelta = timedelta(0)
    opened: AwareDatetime | None = None
    mixed: date | None = None
    price: Annotated[Decimal, Field(decimal_places=2)] = Decimal(1)
    code: Annotated[str, Field(pattern="^[A-Z]$", max_length=1)] = "A"
    layers: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    api_token: Annotated[str, Field(max_length=2)] = ""
    shade: str = "even"

    @field_validator("shade")
    @classmethod
    def _even(cls, shade: str) -> str:
        if shade != "even":
            raise ValueError(f"{shade!r} is uneven")
        return shade

    @field_validator("coats")
    @classmethod
    def _few(cls, coats: int) -> int:
        if coats > 3:
            raise ValueError("three coats are enough")
        return coats


def told(**values: object) -> str:
    with pytest.raises(ValidationError) as refused:
        Paint.model_validate(values)
    return faults_text(refused.value)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"colour": "pink"}, "colour: 'pink' is not valid; valid is 'red' or 'blue'"),
        ({"litres": 0.5}, "litres: 0.5 is not valid; valid is at least 1.0"),
        ({"litres": 20}, "litres: 20 is not valid; valid is less than 20.0"),
        ({"litres": "inf"}, "litres: 'inf' is not valid; valid is a finite number"),
        ({"litres": "much"}, "litres: 'much' is not valid; valid is a number"),
        ({"coats": "two"}, "coats: 'two' is not valid; valid is a whole number"),
        ({"coats": 1.5}, "coats: 1.5 is not valid; valid is a whole number"),
        ({"coats": 4}, "coats: 4: three coats are enough"),
        ({"dries_in": "soon"},
         "dries_in: 'soon' is not valid; valid is an ISO 8601 duration such as PT30S"),
        ({"opened": "noon"},
         "opened: 'noon' is not valid; valid is an instant such as 2026-11-24T18:00:00Z"),
        ({"opened": "2026-11-24T18:00"},
         f"opened: '2026-11-24T18:00' is not valid; valid is {ZONED}"),
        ({"mixed": "24 Nov"}, "mixed: '24 Nov' is not valid; valid is a date such as 2026-11-24"),
        ({"price": "1.005"},
         "price: '1.005' is not valid; valid is a number with at most 2 digits after the point"),
        ({"code": "a"}, "code: 'a' is not valid; valid is text that matches ^[A-Z]$"),
        ({"code": 7}, "code: 7 is not valid; valid is text"),
        ({"layers": []}, "layers: an empty list is not valid; valid is at least 1 of them"),
        ({"layers": 3}, "layers: 3 is not valid; valid is a list"),
        ({"layers": [1, "x"]}, "layers.1: 'x' is not valid; valid is a whole number"),
        ({"layers": ["x"]}, "layers.0: 'x' is not valid; valid is a whole number"),
        ({"layers": {"a": 1}}, "layers: an object is not valid; valid is a list"),
        ({"coats": None}, "coats: null is not valid; valid is a whole number"),
        ({"coats": [1]}, "coats: a list is not valid; valid is a whole number"),
        ({"shade": "odd"}, "shade: 'odd' is uneven"),
        ({"shine": 1}, "shine is not known"),
        ({"api_token": "hush"},
         "api_token: this is not valid; valid is text of at most 2 characters"),
    ],
)  # fmt: skip
def test_a_fault_is_told_by_field_value_and_what_is_valid(
    values: dict[str, object], text: str
) -> None:
    assert told(**values) == text


def test_what_is_absent_is_missing() -> None:
    class Wall(BaseModel):
        height_m: float

    with pytest.raises(ValidationError) as refused:
        Wall.model_validate({})

    assert faults_text(refused.value) == "height_m is missing"


def test_the_whole_has_the_name_that_it_is_given() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Paint).validate_json("{")

    assert faults_text(refused.value, whole="file") == "file: '{' is not valid; valid is JSON"


def test_the_part_of_a_request_is_no_part_of_the_name() -> None:
    fault: dict[str, Any] = {
        "type": "time_delta_parsing", "loc": ("query", "within"), "msg": "Input …", "input": "30",
    }  # fmt: skip

    assert faults_text([fault]) == (
        "within: '30' is not valid; valid is an ISO 8601 duration such as PT30S"
    )
    assert faults_of([fault | {"loc": ("body",)}])[0].field == "body"


def test_an_element_of_a_list_is_told_by_the_name_of_the_list() -> None:
    fault: dict[str, Any] = {
        "type": "int_parsing", "loc": ("body", 0, "gpus"), "msg": "Input …", "input": "many",
    }  # fmt: skip

    assert faults_of([fault])[0].field == "body.0.gpus"
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(list[int]).validate_python(["x"])
    assert faults_text(refused.value, whole="rows") == (
        "rows.0: 'x' is not valid; valid is a whole number"
    )


def test_many_faults_are_counted_and_a_long_value_is_cut() -> None:
    with pytest.raises(ValidationError) as refused:
        Paint.model_validate({f"f{place}": 1 for place in range(7)} | {"code": "x" * 200})

    text = faults_text(refused.value, most=2)

    assert text.startswith("code: 'xxx")
    assert len(text) < 200
    assert text.endswith("; f0 is not known; and 6 more")


def test_a_kind_of_fault_that_nobody_thought_of_is_told_in_the_words_there_are() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(type(None)).validate_python(3)

    assert faults_text(refused.value) == "it: 3 is not valid; valid is None"
