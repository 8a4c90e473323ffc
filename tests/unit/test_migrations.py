"""The schema has one history."""

from importlib.resources import files

from alembic.config import Config
from alembic.script import ScriptDirectory

from gridflex.adapters.database import newest_version


def test_the_migrations_form_one_line() -> None:
    config = Config()
    config.set_main_option("script_location", str(files("gridflex.adapters") / "migrations"))

    scripts = ScriptDirectory.from_config(config)

    assert scripts.get_heads() == [newest_version()]
    assert len({one.revision for one in scripts.walk_revisions()}) == len(
        list((files("gridflex.adapters") / "migrations" / "versions").glob("0*.py"))  # type: ignore[attr-defined]
    )
