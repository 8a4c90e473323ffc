"""The schema has one history."""

from importlib.resources import files

from alembic.config import Config
from alembic.script import ScriptDirectory


def test_the_migrations_form_one_line() -> None:
    config = Config()
    config.set_main_option("script_location", str(files("gridflex.adapters") / "migrations"))

    scripts = ScriptDirectory.from_config(config)

    assert len(scripts.get_heads()) == 1
    assert len({one.revision for one in scripts.walk_revisions()}) == len(
        list((files("gridflex.adapters") / "migrations" / "versions").glob("0*.py"))  # type: ignore[attr-defined]
    )
