"""The working calendar that market tests share."""

from datetime import date

from gridflex.market.working_days import england_and_wales

CALENDAR = england_and_wales(date(2012, 1, 1), date(2029, 12, 31))
