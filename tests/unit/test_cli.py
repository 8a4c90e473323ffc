"""``gridflex jobs`` and ``plan``, without a socket."""

import json
import logging
from functools import partial
from importlib.metadata import version
from typing import Any

import httpx
import pytest
import stamina
from typer.testing import CliRunner

from gridflex import cli
from gridflex.cli import plan, root, shedding
from gridflex.client import Client
from gridflex.errors import ContractError, GridFlexError, InfeasibleError, SourceError

PAGE = {
    "jobs": [
        {
            "id": "job-1",
            "state": "held",
            "flexibility": {"tier": "T2", "deadline": "2026-07-02T00:00:00Z"},
            "next_run": {"start": "2026-07-01T16:00:00Z"},
            "message": "see [/logs] of [red]job",
        }
    ],
    "next_cursor": None,
}
FIGURES = {
    "cost_gbp": 1.5,
    "carbon_kg": 2.0,
    "energy_kwh": 20.0,
    "waiting_gpu_hours": 0.0,
    "objective_gbp": 1.66,
}
PLAN: dict[str, Any] = {
    "id": 7,
    "made_at": "2026-07-01T12:00:00Z",
    "reason": "job",
    "result": {
        **FIGURES,
        "late": ["job-9"],
        "sites_over_cap": ["slough"],
        "method": "m",
        "gap_fraction": 0.012,
    },
    "run_now": {**FIGURES, "cost_gbp": 4.0},
    "jobs": [
        {
            "id": "job-1",
            "runs": [
                {
                    "site": "london",
                    "start": "2026-07-01T16:00:00Z",
                    "half_hours": 4,
                    "gpus": 2,
                    "power_cap_fraction": 0.57,
                }
            ],
        }
    ],
}
ORDER: dict[str, Any] = {
    "id": "low",
    "placed_at": "2026-07-01T12:15:00Z",
    "until": "2026-07-01T13:15:00Z",
    "is_active": True,
    "asked_kw": 15.0,
    "freed_kw": 11.0,
    "freed_now_kw": 0.0,
    "is_enough": False,
    "cost_gbp": 0.25,
    "reason": "low frequency",
    "jobs": [
        {
            "job_id": "job-1",
            "site": "london",
            "state": "running",
            "freed_kw": 11.0,
            "lost_kwh": 2.5,
            "cost_gbp": 0.25,
            "back_by": "2026-07-01T20:00:00Z",
        }
    ],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Requests that the command line made of a GridFlex that always answers."""
    seen: list[httpx.Request] = []
    answers = {
        "/v1/jobs": PAGE,
        "/v1/jobs/job-1/explain": {"lines": ["because [/of] it"], "id": "job-1"},
        "/v1/plans/newest": PLAN,
        "/v1/plans/7/what-if": {
            "result": {**FIGURES, "cost_gbp": 3.0, "over_cap": ["job-2", "job-3"]},
            "unchanged": {**FIGURES, "late": ["job-9"]},
            "moved_jobs": ["job-1"],
            "not_run": ["job-7", "job-8"],
        },
        "/v1/plans/shed": ORDER,
        "/v1/plans/shed/orders": {"orders": [ORDER]},
        "/v1/plans/shed/orders/low": ORDER,
        "/v1/plans/shed/orders/low/end": {**ORDER, "is_active": False},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path in answers:
            return httpx.Response(200, json=answers[request.url.path])
        return httpx.Response(404, json={"detail": "job [/x] does not exist"})

    client = partial(Client, transport=httpx.MockTransport(answer))
    for module in (root, plan, shedding):
        monkeypatch.setattr(module, "Client", client)
    return seen


def run(*arguments: str, columns: int = 200) -> str:
    result = CliRunner(env={"NO_COLOR": "1", "COLUMNS": str(columns)}).invoke(
        cli.app, list(arguments), catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_jobs_are_listed_with_what_they_say(asked: list[httpx.Request]) -> None:
    shown = run("jobs", "ls", "--limit", "5")

    assert asked[0].url.params["limit"] == "5"
    for part in ("job-1", "T2", "held", "2026-07-01 16:00", "see [/logs] of [red]job"):
        assert part in shown


@pytest.mark.usefixtures("asked")
def test_a_list_of_jobs_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "older jobs" not in run("jobs", "ls", "--limit", "1")

    monkeypatch.setitem(PAGE, "next_cursor", "more")

    assert "there are older jobs; --limit shows more than these 1" in run(
        "jobs", "ls", "--limit", "1"
    )


def test_a_job_is_explained_in_its_own_words(asked: list[httpx.Request]) -> None:
    assert "because [/of] it" in run("jobs", "explain", "job-1")
    assert asked[0].url.path == "/v1/jobs/job-1/explain"


@pytest.mark.parametrize("job", ["../../etc", "", "a\0"])
def test_what_can_be_no_job_is_not_asked_for(asked: list[httpx.Request], job: str) -> None:
    with pytest.raises(ContractError, match=r"^job_id: .*valid is up to 200 letters"):
        CliRunner().invoke(root.app, ["jobs", "explain", job], catch_exceptions=False)

    assert not asked


def test_ids_are_quoted_in_what_is_asked(asked: list[httpx.Request]) -> None:
    CliRunner().invoke(root.app, ["plan", "shed-end", "a/b"])

    assert asked[0].url.raw_path.decode() == "/v1/plans/shed/orders/a%2Fb/end"


def test_a_plan_is_shown_beside_run_now(asked: list[httpx.Request]) -> None:
    shown = run("plan", "show")

    assert len(asked) == 1
    for part in ("plan 7", "within 1.20%", "2026-07-01 16:00", "57%", "-2.50"):
        assert part in shown
    assert "; late: job-9; sites over their carbon cap: slough\n" in shown


@pytest.mark.usefixtures("asked")
def test_a_plan_is_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    ray_id = "raysubmit_7hJ2kLm9QwErTyUi"
    monkeypatch.setitem(PLAN, "jobs", [{**PLAN["jobs"][0], "id": ray_id}])

    lines = run("plan", "show", columns=80).splitlines()

    [row] = (line.split() for line in lines if ray_id in line)
    assert row == [ray_id, "london", "2026-07-01", "16:00", "4", "2", "57%"]


def test_a_what_if_asks_for_what_was_given(asked: list[httpx.Request]) -> None:
    given = ("--gpus", "london=4", "--deadline", "job-1=2026-07-01T15:00:00Z")
    shown = run("plan", "what-if", "--plan", "7", *given, "--carbon-price", "100")

    assert json.loads(asked[0].content) == {
        "gpus": {"london": 4},
        "deadlines": {"job-1": "2026-07-01T15:00:00Z"},
        "carbon_caps_gco2_per_kwh": {},
        "carbon_price_gbp_per_tco2": 100.0,
    }
    assert "jobs that would move: job-1" in shown
    assert "+1.50" in shown
    assert "count whole half-hours at full power" in shown
    assert "without room for all of their work, left out of all figures: job-7, job-8" in shown
    assert "not kept: over their carbon cap: job-2, job-3\n" in shown
    assert "not kept as it is: late: job-9\n" in shown


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ([(0, 0, 0), (0, 0, 0)], ""),
        ([(1, 0, 1), (0, 2, 1)], "late: 0 to 1; over their carbon cap: 0 to 2; sites over their"),
        ([(None, None, None)], "not known"),
        ([(3,)], "not known"),
    ],
    ids=["all kept", "each other ones", "kept without telling", "an older server"],
)
def test_a_front_says_how_many_promises_its_plans_do_not_keep(
    monkeypatch: pytest.MonkeyPatch, points: list[tuple[int | None, ...]], told: str
) -> None:
    counts = [
        dict(zip(("late", "over_cap", "sites_over_cap"), one, strict=False)) for one in points
    ]
    figures = {**FIGURES, "moved_jobs": 0, "origin": "NSGA-II"}
    front = {"points": [{**figures, **one} for one in counts], "knee": 0, "preferred": 0}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=front))
    monkeypatch.setattr(plan, "Client", partial(Client, transport=transport))

    shown = run("plan", "front")

    assert ("promises" in shown) == bool(told)
    assert f"promises that each of these leaves unkept: {told}" in shown or not told


def test_points_of_a_front_that_print_alike_are_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = [1.861, 1.8612, 1.8611, 2.5]
    points = [
        {**FIGURES, "cost_gbp": cost, "moved_jobs": 2, "origin": "crossing of two plans"}
        for cost in costs
    ]
    front = {"points": points, "knee": 0, "preferred": 2}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=front))
    monkeypatch.setattr(plan, "Client", partial(Client, transport=transport))

    shown = run("plan", "front", columns=80)

    assert (shown.count("1.86"), shown.count("2.50")) == (1, 1)
    [row] = (line for line in shown.splitlines() if "1.86" in line)
    assert "knee, best at these prices" in row
    assert "2 more plans that print alike are left out; --json has all" in shown
    assert "crossing" not in shown
    assert json.loads(run("plan", "front", "--json")) == front


@pytest.mark.parametrize(
    ("gained_gbp", "difference", "says"),
    [
        (0.000008, "0.00", "jobs that would move, with nothing gained by it: job-1"),
        (-0.004, "-0.0040", "jobs that would move: job-1"),
        (-0.5, "-0.50", "jobs that would move: job-1"),
    ],
)
def test_a_column_has_one_precision_and_no_negative_zero(
    monkeypatch: pytest.MonkeyPatch, gained_gbp: float, difference: str, says: str
) -> None:
    other = {**FIGURES, "cost_gbp": 1.86, "objective_gbp": 1.86, "carbon_kg": 2.0}
    result = {
        **other,
        "cost_gbp": 1.86 + gained_gbp,
        "objective_gbp": 1.86 + gained_gbp,
        "carbon_kg": 1.999,
    }
    answer = {"result": result, "unchanged": other, "moved_jobs": ["job-1"], "not_run": []}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    monkeypatch.setattr(plan, "Client", partial(Client, transport=transport))

    shown = run("plan", "what-if")

    rows = [line.strip("│ ").split("│") for line in shown.splitlines() if line.startswith("│")]
    differences = {label.strip(): told.strip() for label, _, _, told, _ in rows}
    places = len(difference.partition(".")[2])
    assert {len(told.partition(".")[2]) for told in differences.values()} == {places}
    assert differences["cost"] == differences["objective"] == difference
    assert differences["carbon"] == ("0.00" if places == 2 else "-0.0010")
    assert {one.strip() for _, one, _, _, _ in rows} >= {"20.00", "2.00", "0.00"}
    assert f"{says}\n" in shown


def test_an_order_to_shed_is_given_under_an_id_of_its_own(asked: list[httpx.Request]) -> None:
    given = ("--kw", "15", "--within", "PT1M", "--for", "PT1H", "--site", "london")
    shown = run("plan", "shed", *given, "--carry-out", "--reason", "low frequency")
    run("plan", "shed", *given, "--carry-out", "--order", "low")

    assert json.loads(asked[0].content) == {
        "kw": 15.0,
        "within": "PT1M",
        "hold": "PT1H",
        "site": "london",
        "reason": "low frequency",
    }
    first, second = (request.headers["Idempotency-Key"] for request in asked)
    assert (len(first), second) == (32, "low")
    for part in ("job-1", "running", "order low is in force", "11.00 of 15 kW", "no more without"):
        assert part in shown


def test_a_saving_below_a_penny_keeps_what_it_says(
    asked: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLAN, "run_now", {**FIGURES, "cost_gbp": 1.5042})

    assert "-0.0042" in run("plan", "show")
    assert len(asked) == 1


def test_orders_to_shed_are_shown_and_ended(asked: list[httpx.Request]) -> None:
    assert "low frequency" in run("plan", "shed-orders")
    assert "order low is in force, until 2026-07-01 13:15Z" in run("plan", "shed-orders", "low")
    assert "order low is over" in run("plan", "shed-end", "low")
    assert [request.method for request in asked] == ["GET", "GET", "POST"]


@pytest.mark.parametrize("more", [[], ["--carry-out"]])
@pytest.mark.parametrize(
    ("option", "text", "valid"),
    [
        *(("--for", text, "an ISO 8601 duration") for text in ("P1M", "hour", "P99999999999D")),
        *(("--for", text, "longer than PT0S, at most P31D") for text in ("-PT1H", "PT0S", "P32D")),
        ("--within", "30", "an ISO 8601 duration"),
        *(("--within", text, "from PT0S to P31D") for text in ("-PT1S", "P32D")),
    ],
)
def test_a_duration_of_an_order_is_refused_by_its_option(
    asked: list[httpx.Request], option: str, text: str, valid: str, more: list[str]
) -> None:
    with pytest.raises(ContractError, match=f"^{option}: '{text}' is not valid; valid is {valid}"):
        run("plan", "shed", "--kw", "15", option, text, *more)

    assert asked == []


def test_an_order_whose_answer_was_lost_can_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("lost", request=request)

    monkeypatch.setattr(shedding, "Client", partial(Client, transport=httpx.MockTransport(lost)))

    with pytest.raises(SourceError, match=r"give it again with --order [0-9a-f]{32}"):
        run("plan", "shed", "--kw", "15", "--carry-out")


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["jobs", "ls"], PAGE),
        (["plan", "show"], PLAN),
        (["jobs", "explain", "job-1"], {"lines": ["because [/of] it"], "id": "job-1"}),
    ],
)
@pytest.mark.usefixtures("asked")
def test_json_is_what_gridflex_answered(arguments: list[str], body: object) -> None:
    assert json.loads(run(*arguments, "--json")) == body


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--gpus", f"london{value}") for value in ("", "=many", "=nan", "=inf", "=2.5")),
        *(("--carbon-cap", f"job-1={value}") for value in ("low", "nan", "inf")),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_pair_that_is_none_is_refused(option: str, value: str) -> None:
    with pytest.raises(ContractError, match=option):
        run("plan", "what-if", option, value)


@pytest.mark.parametrize("option", ["--gpus", "--deadline", "--carbon-cap"])
def test_a_name_given_twice_is_refused_by_its_option(
    asked: list[httpx.Request], option: str
) -> None:
    with pytest.raises(ContractError, match=rf"^{option}: 'a=8' .* once, and a is '1' already$"):
        run("plan", "what-if", option, "a=1", option, "b=1", option, "a=8")

    assert asked == []


@pytest.mark.parametrize(
    ("command", "option"),
    [("what-if", "--carbon-price"), ("front", "--carbon-price"), ("front", "--waiting-price")],
)
@pytest.mark.parametrize("price", ["nan", "inf", "-1", "1e308"])
def test_a_price_that_is_none_is_refused_by_its_option(
    asked: list[httpx.Request], command: str, option: str, price: str
) -> None:
    result = CliRunner(env={"NO_COLOR": "1"}).invoke(cli.app, ["plan", command, option, price])

    assert (result.exit_code, asked) == (2, [])
    assert f"'{option}': {float(price):g} is not valid" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InfeasibleError("never"), 5),
        (ContractError("job [/x] does not exist"), 4),
        (SourceError("away"), 3),
        (GridFlexError("broken"), 1),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(root, "app", fail)

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_an_attempt_that_is_repeated_is_not_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tries_twice() -> None:
        for attempt in stamina.retry_context(on=SourceError, attempts=2, wait_initial=0):
            with attempt:
                if attempt.num == 1:
                    raise SourceError("away")

    monkeypatch.setattr(root, "app", tries_twice)
    for logger in (logging.getLogger(), logging.getLogger("stamina")):
        monkeypatch.setattr(logger, "handlers", [])

    cli.main()

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "line"),
    [
        pytest.param((), "something outside did not answer; 4 the input", id="root"),
        pytest.param(("settle", "show"), "the settled totals of a running GridFlex", id="show"),
        pytest.param(("settle", "invoice"), "that does not know what the ledger says", id="group"),
        pytest.param(
            ("settle", "baseline", "judge"), "against what was committed, a computed", id="nested"
        ),
    ],
)
def test_help_breaks_its_lines_where_the_terminal_ends(command: tuple[str, ...], line: str) -> None:
    assert line in run(*command, "--help", columns=80)


def test_the_words_of_a_mishap_are_in_its_help() -> None:
    shown = " ".join(run("sandbox", "market", "--help", columns=250).split())

    assert "words are lose, garble, mute, reject, none." in shown


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version") == f"gridflex {version('gridflex')}\n"


NOTHING_SHED: dict[str, Any] = {
    "cuts": [],
    "rebound": [],
    "freed_kw": 0.0,
    "is_enough": False,
    "running_kw": 0.0,
    "cost_gbp": 0.0,
    "read_at": "2026-07-01T12:15:00Z",
}


def shed(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, columns: int = 200) -> str:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    monkeypatch.setattr(shedding, "Client", partial(Client, transport=transport))
    return run("plan", "shed", "--kw", "15", "--within", "PT1M", "--for", "PT1H", columns=columns)


def test_that_no_job_gives_up_power_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shed(NOTHING_SHED, monkeypatch)

    assert shown.splitlines()[0] == "no running job would give up power"


RAY_ID = "raysubmit_7hJ2kLm9QwErTyUi"


def test_a_job_that_would_give_up_power_is_whole_at_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut = {"job_id": RAY_ID, "site": "london", "action": "pause"}
    figures = {"freed_kw": 11.0, "lost_kwh": 2.5, "cost_gbp": 0.25}
    back = {"job_id": RAY_ID, "until": "2026-07-01T20:00:00Z", "extra_kwh": 2.5}
    answer = {**NOTHING_SHED, "cuts": [{**cut, **figures}], "rebound": [back]}

    lines = shed(answer, monkeypatch, columns=80).splitlines()

    [row] = (line.split() for line in lines if RAY_ID in line)
    assert row == [RAY_ID, "london", "pause", "11.00", "2.50", "0.25", "2026-07-01", "20:00"]


@pytest.mark.usefixtures("asked")
def test_an_order_and_its_jobs_are_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = "0123456789abcdef" * 2
    monkeypatch.setitem(ORDER, "id", made_up)
    monkeypatch.setitem(ORDER, "jobs", [{**ORDER["jobs"][0], "job_id": RAY_ID}])

    orders, jobs = (run("plan", "shed-orders", *one, columns=80) for one in ((), ("low",)))

    [order] = (line.split() for line in orders.splitlines() if made_up in line)
    [job] = (line.split() for line in jobs.splitlines() if RAY_ID in line)
    assert order[:6] == [made_up, "2026-07-01", "13:15", "11.00", "15", "yes"]
    assert job[:4] == [RAY_ID, "london", "running", "11.00"]
