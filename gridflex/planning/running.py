"""From jobs that run, or are about to, to what they could give up in an emergency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta

from gridflex.fleet import Site, shaped_power_kw
from gridflex.jobs import Tier
from gridflex.lifecycle import Attempt, AttemptState, Job
from gridflex.planning.shed import RunningWork


def running_work(
    jobs: Iterable[Job], *, sites: Mapping[str, Site], now: datetime, restart: timedelta
) -> tuple[RunningWork, ...]:
    """Return the jobs that run, each with what a pause would cost it.

    Power is modelled or declared, and so is the age of a checkpoint: a job that says how often
    it writes one is taken to do so from the moment its work began; one that does not say is taken
    to lose all that this run has done. Slack is what is left beside a long run at today's speed,
    so that a pause makes no job late more often than its plan does.

    Args:
        jobs: Open jobs.
        sites: By name; runs elsewhere are left out.
        now: GridFlex time.
        restart: What a start takes before work goes on.
    """
    return _in_state({AttemptState.RUNNING}, jobs, sites=sites, now=now, restart=restart)


def waiting_work(
    jobs: Iterable[Job], *, sites: Mapping[str, Site], now: datetime, restart: timedelta
) -> tuple[RunningWork, ...]:
    """Return the jobs that are about to run: sent to a cluster, or decided to be.

    Args:
        jobs: Open jobs.
        sites: By name; runs elsewhere are left out.
        now: GridFlex time.
        restart: What a start takes before work goes on.
    """
    waiting = {AttemptState.DECIDED, AttemptState.SUBMITTED}
    return _in_state(waiting, jobs, sites=sites, now=now, restart=restart)


def _in_state(
    states: Set[AttemptState],
    jobs: Iterable[Job],
    *,
    sites: Mapping[str, Site],
    now: datetime,
    restart: timedelta,
) -> tuple[RunningWork, ...]:
    return tuple(
        _work(job, job.live_attempt, sites[job.live_attempt.site], now=now, restart=restart)
        for job in jobs
        if job.live_attempt and job.live_attempt.state in states and job.live_attempt.site in sites
    )


def _work(
    job: Job, attempt: Attempt, site: Site, *, now: datetime, restart: timedelta
) -> RunningWork:
    flexibility = job.flexibility
    power_kw = shaped_power_kw(
        flexibility, site, job.shape_of(attempt), cpus=job.request.entrypoint_cpus
    )
    left = job.safe_remaining(now, restart=restart) / attempt.speed_fraction
    is_whole = attempt.state is AttemptState.RUNNING and not flexibility.interruptible
    done, every = attempt.work_time(now, restart=restart), flexibility.checkpoint_every
    return RunningWork(
        job_id=job.id,
        site=site.name,
        power_kw=power_kw,
        checkpoint_age=done % every if every else done,
        restart=restart,
        slack=max(flexibility.deadline - now - left, timedelta(0)),
        premium_gbp_per_kwh=float(flexibility.premium_gbp_per_kwh),
        acts_in=flexibility.stop_grace,
        is_pausable=not is_whole and flexibility.tier is not Tier.T0,
    )
