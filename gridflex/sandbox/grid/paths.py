"""Below which paths the grid data server answers as each provider, and as itself."""

from typing import Final

ELEXON_PATH: Final = "/bmrs/api/v1"
OCTOPUS_PATH: Final = "/v1"
NORD_POOL_PATH: Final = "/api"
CONTROL_PATH: Final = "/_sandbox"
