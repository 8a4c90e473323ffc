"""Failures of the HTTP library become one kind of error, in words."""

import httpx
import pytest

from gridflex.adapters.http_errors import http_errors
from gridflex.errors import ContractError, SourceError


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        pytest.param(httpx.ReadTimeout("x"), "no answer in time", id="it takes too long"),
        pytest.param(TimeoutError(), "no answer in time", id="it takes too long in all"),
        pytest.param(httpx.ConnectError("refused"), "refused", id="nobody is there"),
        pytest.param(httpx.ReadError(""), "ReadError", id="the library says nothing"),
        pytest.param(httpx.InvalidURL("no host"), "no host", id="no address"),
        pytest.param(UnicodeError("no Punycode"), "no Punycode", id="a name that cannot be"),
    ],
)
def test_no_answer_is_a_source_error_that_names_the_place(failure: Exception, says: str) -> None:
    with pytest.raises(SourceError) as raised, http_errors("elexon: http://e.test/x"):
        raise failure

    assert str(raised.value) == f"elexon: http://e.test/x: {says}"
    assert raised.value.__cause__ is failure


def test_other_errors_pass_through() -> None:
    with pytest.raises(ContractError, match="mine"), http_errors("elexon"):
        raise ContractError("mine")
