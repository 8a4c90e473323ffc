"""What an owner writes in a job's metadata, and what comes back when it is wrong."""

import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import MetadataError
from gridflex.jobs import (
    DEFAULT_STOP_GRACE,
    KEYS,
    PREFIX,
    Flexibility,
    Submission,
    Tier,
    parse_flexibility,
)
from tests.unit.lifecycles import UP_TO_FOUR_HOURS

HOUR = timedelta(hours=1)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SITES = {"london": 8, "slough": 32}
LEARNED = Submission(
    submitted_at=NOON,
    entrypoint_gpus=1,
    likely_duration=HOUR,
    site_gpus=SITES,
    run_time=UP_TO_FOUR_HOURS,
)


def hours(count: float) -> timedelta:
    return count * HOUR


def submission(*, gpus: float = 0, likely: timedelta = HOUR) -> Submission:
    return Submission(
        submitted_at=NOON, entrypoint_gpus=gpus, likely_duration=likely, site_gpus=SITES
    )


def read(values: dict[str, str], *, gpus: float = 0, likely: timedelta = HOUR) -> Flexibility:
    metadata = {PREFIX + name: value for name, value in values.items()}
    found = parse_flexibility(metadata, submission(gpus=gpus, likely=likely))
    assert found is not None
    return found


@pytest.mark.parametrize("metadata", [{}, {"team": "vision"}, {"gridflex/tier": "T3"}])
def test_a_job_without_our_keys_is_not_flexible(metadata: dict[str, str]) -> None:
    assert parse_flexibility(metadata, submission()) is None


def test_keys_of_others_are_left_alone() -> None:
    metadata = {"gridflex.io/tier": "T1", "kueue.x-k8s.io/queue-name": "a", "job_name": "b"}

    found = parse_flexibility(metadata, submission())

    assert found is not None
    assert found.tier is Tier.T1


@pytest.mark.parametrize(
    ("tier", "deadline", "interruptible", "sites"),
    [
        pytest.param("T0", NOON + hours(4), False, ("london",), id="T0 rigid"),
        pytest.param("T1", NOON + hours(5), False, ("london",), id="T1 an hour"),
        pytest.param("T2", NOON + hours(28), False, ("london",), id="T2 a day"),
        pytest.param("T3", NOON + hours(172), True, ("london",), id="T3 a week"),
        pytest.param("T4", NOON + hours(28), True, ("london",), id="T4 elastic"),
        pytest.param("T5", NOON + hours(28), True, ("london", "slough"), id="T5 may move"),
    ],
)
def test_a_tier_sets_every_default(
    tier: str,
    deadline: datetime,
    interruptible: bool,
    sites: tuple[str, ...],
) -> None:
    found = read({"tier": tier, "duration": "PT4H"})

    assert found.deadline == deadline
    assert found.interruptible is interruptible
    assert found.sites == sites


def test_a_learned_run_time_counts_as_its_median_and_the_tier_starts_after_a_safe_one() -> None:
    found = parse_flexibility({"gridflex.io/tier": "T1"}, LEARNED)

    assert found is not None
    assert (found.duration, found.duration_is_declared) == (hours(2), False)
    assert found.safe_duration == hours(3.6)
    assert found.deadline == NOON + hours(4.6)
    assert found.run_time == UP_TO_FOUR_HOURS


def test_what_the_owner_declares_goes_before_what_was_learned() -> None:
    metadata = {"gridflex.io/tier": "T1", "gridflex.io/duration": "PT3H"}

    found = parse_flexibility(metadata, LEARNED)

    assert found is not None
    assert (found.duration, found.safe_duration, found.run_time) == (hours(3), hours(3), None)
    assert found.deadline == NOON + hours(4)


def test_an_own_deadline_needs_room_for_a_usual_run_only() -> None:
    found = parse_flexibility({"gridflex.io/max-deferral": "PT2H"}, LEARNED)

    assert found is not None
    assert found.deadline == NOON + hours(2)


def test_what_nobody_says_has_a_default() -> None:
    found = read({"team": "vision"}, likely=hours(3))

    assert found == Flexibility(
        tier=Tier.T2, deadline=NOON + hours(27), duration=hours(3), duration_is_declared=False,
        interruptible=False, gpus=0, min_gpus=0, max_gpus=0, checkpoint_every=None,
        stop_grace=DEFAULT_STOP_GRACE, sites=("london",), premium_gbp_per_kwh=Decimal(0),
        team="vision",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "attribute", "expected"),
    [
        pytest.param({"tier": " T3 "}, "tier", Tier.T3, id="tier with spaces"),
        pytest.param({"duration": "PT90M"}, "duration", hours(1.5), id="duration"),
        pytest.param({"duration": "P2D"}, "duration", hours(48), id="duration in days"),
        pytest.param({"duration": "P1W"}, "duration", hours(168), id="duration in weeks"),
        pytest.param({"duration": "PT4H"}, "duration_is_declared", True, id="declared"),
        pytest.param({"max-deferral": "PT12H"}, "deadline", NOON + hours(12), id="max-deferral"),
        pytest.param(
            {"deadline": "2026-07-01T18:00:00Z"}, "deadline", NOON + hours(6), id="deadline in UTC"
        ),
        pytest.param(
            {"deadline": "2026-07-01T19:00:00+01:00"}, "deadline", NOON + hours(6),
            id="deadline in London",
        ),
        pytest.param(
            {"deadline": "2026-07-01T13:00:00Z"}, "deadline", NOON + hours(1), id="just in time"
        ),
        pytest.param({"tier": "T3", "interruptible": "False"}, "interruptible", False, id="not"),
        pytest.param({"interruptible": "true"}, "interruptible", True, id="interruptible"),
        pytest.param({"checkpoint-every": "PT10M"}, "checkpoint_every", hours(1 / 6), id="every"),
        pytest.param({"stop-grace": "PT2M"}, "stop_grace", timedelta(minutes=2), id="grace"),
        pytest.param({"gpus": "8"}, "gpus", 8, id="gpus"),
        pytest.param({"power-kw": "5.6"}, "power_kw", 5.6, id="power"),
        pytest.param({"energy-kwh": "150"}, "energy_kwh", 150.0, id="energy"),
        pytest.param(
            {"duration": "PT4H", "power-kw": "10", "energy-kwh": "36"}, "energy_kwh", 36.0,
            id="energy that agrees with the power",
        ),
        pytest.param(
            {"power-kw": "10", "energy-kwh": "150"}, "energy_kwh", 150.0,
            id="power and energy without a run time",
        ),
        pytest.param({"carbon-cap": "150"}, "carbon_cap_gco2_per_kwh", 150.0, id="carbon cap"),
        pytest.param({"premium": "0.15"}, "premium_gbp_per_kwh", Decimal("0.15"), id="premium"),
        pytest.param({"premium": "0"}, "premium_gbp_per_kwh", Decimal(0), id="no premium"),
        pytest.param({"sites": "slough, london"}, "sites", ("slough", "london"), id="sites"),
        pytest.param({"sites": "slough,slough,"}, "sites", ("slough",), id="a site named twice"),
        pytest.param({"project": "p" * 63}, "project", "p" * 63, id="longest label"),
    ],
)  # fmt: skip
def test_a_good_value_is_taken(values: dict[str, str], attribute: str, expected: object) -> None:
    assert getattr(read(values), attribute) == expected


@pytest.mark.parametrize("energy_kwh", ["35.9", "44.1", "1e6"])
def test_an_energy_that_contradicts_power_and_run_time_is_refused(energy_kwh: str) -> None:
    values = {"duration": "PT4H", "power-kw": "10", "energy-kwh": energy_kwh}

    with pytest.raises(
        MetadataError, match=r"valid is from 36 to 44, .* power-kw .* of PT4H"
    ) as found:
        read(values)

    assert found.value.key == "gridflex.io/energy-kwh"


BAD_DURATION = "an ISO 8601 duration above zero and at most 31 days, such as PT4H"
BAD_NUMBER = "a number above 0 and at most "


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        *(("tier", bad, "T0, T1, T2, T3, T4 or T5") for bad in ("T6", "t2", "")),
        *(("duration", bad, BAD_DURATION) for bad in
          ("4h", "PT0S", "-PT1H", "P1M", "P1Y", "P32D", "PT1e3H", "", "P99999999999D")),
        ("checkpoint-every", "ten minutes", BAD_DURATION),
        ("stop-grace", "30", BAD_DURATION),
        ("max-deferral", "P40D", BAD_DURATION),
        *(("deadline", bad, "an RFC 3339 time with zone, such as 2026-07-01T18:00:00Z") for bad in
          ("tomorrow", "2026-07-02", "2026-07-02T18:00:00", "17829288", "9999-12-31T23:00-10:00")),
        *(("interruptible", bad, "true or false") for bad in ("yes", "1", "")),
        *(("gpus", bad, "a whole number from 0 to 8, the GPUs of the largest site it may use")
          for bad in ("-1", "2.5", "eight", "٣", "")),
        *(("power-kw", bad, f"{BAD_NUMBER}100000") for bad in
          ("0", "-1", "nan", "inf", "100001", "5.6kW")),
        *(("energy-kwh", bad, f"{BAD_NUMBER}1e+08") for bad in ("0", "-inf", "1e9")),
        ("energy-kwh", "100001", "from 0 to 100000, which is 100000 kW over the run time of PT1H"),
        *(("carbon-cap", bad, f"{BAD_NUMBER}2000") for bad in ("0", "2001", "low")),
        *(("premium", bad, "GBP per kWh from 0 to 10, such as 0.15") for bad in
          ("-0.01", "10.01", "NaN", "sNaN", "Infinity", "15p")),
        *(("sites", bad, "site names out of london, slough, separated by commas") for bad in
          ("paris", "london,paris", "", " , ")),
        *(("team", bad, "1 to 63 characters") for bad in ("", "   ", "t" * 64)),
        ("project", "p" * 64, "1 to 63 characters"),
        *((key, "a\x1b[2Jb", "no control character") for key in ("team", "project")),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_its_key_and_what_would_be_valid(
    key: str, value: str, valid: str
) -> None:
    with pytest.raises(MetadataError) as refused:
        read({key: value})

    assert refused.value.key == f"gridflex.io/{key}"
    assert refused.value.value == value
    assert valid in refused.value.valid
    assert str(refused.value).startswith(f"gridflex.io/{key}: {value!r} is not valid; valid is ")


@pytest.mark.parametrize("name", ["deadlines", "Tier", "", "attempt-of"])
def test_an_unknown_key_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        MetadataError, match="one of the keys carbon-cap, checkpoint-every"
    ) as refused:
        read({"tier": "T2", name: "x"})

    assert refused.value.key == PREFIX + name
    assert all(key in refused.value.valid for key in KEYS)


@pytest.mark.parametrize(
    "deadline",
    [
        pytest.param("2026-06-30T12:00:00Z", id="in the past"),
        pytest.param("2026-07-01T15:59:59Z", id="a second too early"),
        pytest.param("2026-09-02T12:00:00Z", id="months ahead"),
    ],
)
def test_a_deadline_that_cannot_be_met_is_refused_with_the_range_that_can(deadline: str) -> None:
    with pytest.raises(MetadataError) as refused:
        read({"deadline": deadline, "duration": "PT4H"})

    assert refused.value.key == "gridflex.io/deadline"
    assert "from 2026-07-01T16:00:00Z (submission plus the run time of PT4H)" in str(refused.value)
    assert "to 2026-09-01T12:00:00Z" in str(refused.value)


def test_a_deferral_shorter_than_the_run_is_refused() -> None:
    with pytest.raises(
        MetadataError, match=r"max-deferral: 'PT1H' is not valid; .*2026-07-01T16:00"
    ):
        read({"max-deferral": "PT1H", "duration": "PT4H"})


def test_deadline_and_deferral_together_are_refused() -> None:
    with pytest.raises(
        MetadataError, match=r"max-deferral: 'PT9H'.*absent where deadline is given"
    ):
        read({"max-deferral": "PT9H", "deadline": "2026-07-01T18:00:00Z"})


@pytest.mark.parametrize(
    ("values", "entrypoint_gpus", "most"),
    [
        pytest.param({"gpus": "9"}, 0, 8, id="than the default site has"),
        pytest.param({"tier": "T2"}, 9, 8, id="requested of Ray"),
        pytest.param({"gpus": "33", "sites": "london,slough"}, 0, 32, id="than any site has"),
        pytest.param({"gpus": "33", "tier": "T5"}, 0, 32, id="than any it may move to"),
    ],
)
def test_more_gpus_than_any_site_it_may_use_are_refused(
    values: dict[str, str], entrypoint_gpus: float, most: int
) -> None:
    with pytest.raises(MetadataError, match=f"gridflex.io/gpus: .*from 0 to {most}, the GPUs"):
        read(values, gpus=entrypoint_gpus)


def test_a_job_fits_if_one_of_its_sites_has_its_gpus() -> None:
    assert read({"gpus": "32", "sites": "london,slough"}).gpus == 32


def test_half_a_gpu_requested_of_ray_counts_as_one() -> None:
    assert read({"tier": "T2"}, gpus=0.5).gpus == 1


def test_fewer_gpus_than_were_requested_of_ray_are_refused() -> None:
    with pytest.raises(MetadataError, match=r"gpus: '2'.*at least the 4 of entrypoint_num_gpus"):
        read({"gpus": "2"}, gpus=4)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        pytest.param({"tier": "T2", "gpus": "4"}, 4, 4, id="rigid tiers keep what they ask for"),
        pytest.param({"tier": "T4", "gpus": "4"}, 2, 8, id="half to double"),
        pytest.param({"tier": "T4", "gpus": "6"}, 3, 8, id="no more than the site has"),
        pytest.param({"tier": "T4", "gpus": "1"}, 1, 2, id="at least one"),
        pytest.param({"tier": "T4"}, 0, 0, id="no GPU at all"),
        pytest.param({"gpus": "4", "min-gpus": "1", "max-gpus": "6"}, 1, 6, id="as declared"),
    ],
)
def test_an_elastic_range_surrounds_what_is_asked_for(
    values: dict[str, str], low: int, high: int
) -> None:
    found = read(values)

    assert (found.min_gpus, found.max_gpus) == (low, high)


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        pytest.param("min-gpus", "5", "a whole number from 1 to 4", id="least above"),
        pytest.param("min-gpus", "0", "a whole number from 1 to 4", id="none at all"),
        pytest.param("min-gpus", "two", "a whole number from 1 to 4", id="least in words"),
        pytest.param("max-gpus", "3", "from 4, the GPUs asked for, to 8", id="most below"),
        pytest.param("max-gpus", "9", "from 4, the GPUs asked for, to 8", id="more than there are"),
        pytest.param("max-gpus", "-9", "from 4, the GPUs asked for, to 8", id="negative"),
    ],
)
def test_an_elastic_range_that_does_not_fit_is_refused(key: str, value: str, valid: str) -> None:
    with pytest.raises(MetadataError) as refused:
        read({"gpus": "4", key: value})

    assert (refused.value.key, refused.value.value) == (PREFIX + key, value)
    assert valid in refused.value.valid


@pytest.mark.parametrize("tier", ["T2", "T4"])
def test_a_job_without_gpus_has_no_use_for_more(tier: str) -> None:
    with pytest.raises(MetadataError, match="no GPUs") as refused:
        read({"tier": tier, "max-gpus": "4"})

    assert refused.value.key == PREFIX + "max-gpus"


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), st.text(max_size=12), min_size=1))
def test_any_text_is_either_refused_or_makes_a_job_that_can_be_done(values: dict[str, str]) -> None:
    with suppress(MetadataError):
        found = read(values)

        assert found.min_gpus <= found.gpus <= found.max_gpus
        assert found.deadline >= NOON + found.duration


@given(st.sampled_from(list(Tier)), st.integers(1, 24 * 60), st.integers(0, 30 * 24 * 60))
def test_a_job_that_starts_at_once_is_always_in_time(tier: Tier, minutes: int, slack: int) -> None:
    duration, deferral = timedelta(minutes=minutes), timedelta(minutes=minutes + slack)

    by_tier = read({"tier": tier, "duration": f"PT{minutes}M"})
    by_owner = read({"duration": f"PT{minutes}M", "max-deferral": f"PT{minutes + slack}M"})

    assert by_tier.deadline - duration >= NOON
    assert by_owner.deadline == NOON + deferral


def test_a_refusal_survives_the_way_between_processes() -> None:
    error = MetadataError("gridflex.io/tier", "T9", valid="T0 to T5")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (again.key, again.value, again.valid, str(again)) == (
        "gridflex.io/tier", "T9", "T0 to T5", str(error),
    )  # fmt: skip


def test_a_run_time_that_its_owner_did_not_give_is_told_in_whole_seconds() -> None:
    with pytest.raises(MetadataError) as refused:
        read({"deadline": "2026-06-30T12:00:00Z"}, likely=timedelta(minutes=37, seconds=3.69))

    assert "the run time of PT37M4S)" in str(refused.value)
