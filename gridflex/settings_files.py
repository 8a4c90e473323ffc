"""Settings read from a file, the environment and flags, and written for other processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.settings import Settings

CONFIG_VARIABLE: Final = "GRIDFLEX_CONFIG"
SETTINGS_FILE: Final = "settings.yaml"
"""In the state folder, the settings in force, for every process of the head node."""

_IN_FORCE: Final = "in_force"
"""Key of a file that says all there is to say, whatever the environment says."""

MOST_TOLD: Final = 20
"""Wrong settings that are told at once."""

DEFAULT_CONFIG: Final = Path("gridflex.yaml")


def load_settings(path: Path | None = None, *, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of the file, the environment and the command line.

    A file that `write_settings` wrote holds all of them, so the environment adds nothing to it:
    what was started with other variables, or kept apart as a sandbox, stays as it is.

    Args:
        path: The YAML file; None takes ``GRIDFLEX_CONFIG``, else ``gridflex.yaml`` if present.
        flags: What the command line says, nested as in the file; it wins over both others.

    Raises:
        ContractError: The file is absent or not YAML, a value is not valid or a variable names
            no setting; the message names each.
    """
    named = path or (Path(os.environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in os.environ else None)
    _check_variables()
    chosen = named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    values = _read(chosen) if chosen else {}
    reader = _Exact if values.pop(_IN_FORCE, False) else Settings
    try:
        settings = reader(**values)
        if not flags:
            return settings
        return _Exact(**_merged(settings.model_dump(exclude_unset=True), flags))
    except ValidationError as error:
        told = faults_text(error, whole="settings", most=MOST_TOLD)
        raise ContractError(f"{_named(chosen)}: {told}") from error
    except SettingsError as error:
        raise ContractError(f"environment: {error}: {error.__cause__}") from error


def dump_settings(settings: Settings) -> str:
    """Return the settings as YAML for `parse_settings` or `load_settings`; secrets in clear."""
    values = settings.model_dump(mode="json", exclude_none=True)
    _reveal(values, settings)
    return yaml.safe_dump(values, sort_keys=False)


def write_settings(settings: Settings) -> Path:
    """Write the settings in force where every process of this machine can load them."""
    settings.state_path.mkdir(parents=True, exist_ok=True)
    path = settings.state_path / SETTINGS_FILE
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as new:  # mode 600
        new.write(f"{_IN_FORCE}: true\n{dump_settings(settings)}")
    Path(new.name).replace(path)
    return path


def parse_settings(text: str) -> Settings:
    """Return what `dump_settings` or `write_settings` wrote, whatever the environment says."""
    values = yaml.safe_load(text)
    values.pop(_IN_FORCE, None)
    return _Exact(**values)


class _Exact(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


_VARIABLES: Final = {f"GRIDFLEX_{field}".upper() for field in Settings.model_fields}


def _check_variables() -> None:
    """Refuse a nested setting of a group that does not exist; other names may be others' own."""
    parts = ((name, name.upper().partition("__")) for name in sorted(os.environ))
    for name, (group, nested, _) in parts:
        if nested and group.startswith("GRIDFLEX_") and group not in _VARIABLES:
            raise ContractError(
                f"environment: {name}: {group} is no setting; valid are "
                f"{', '.join(sorted(_VARIABLES))}"
            )


def _named(chosen: Path | None) -> str:
    """Return where settings come from: the file, and the variables that may be at fault too."""
    variables = sorted(name for name in os.environ if name.upper().partition("__")[0] in _VARIABLES)
    return " and ".join((str(chosen or "settings"), *variables))


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, dict):
            merged[key] = _merged(under, value)
        else:
            merged[key] = value
    return merged


def _reveal(values: dict[str, Any], model: BaseModel) -> None:
    """Put secrets in clear where a dump of ``model`` hides them."""
    for name, value in model:
        if isinstance(value, SecretStr):
            values[name] = value.get_secret_value()
        elif isinstance(value, BaseModel):
            _reveal(values[name], value)
        elif isinstance(value, tuple):
            for shown, one in zip(values[name], value, strict=True):
                if isinstance(one, BaseModel):
                    _reveal(shown, one)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ContractError(f"{path}: must map the names of settings to values, got {values!r:.60}")
    return values
